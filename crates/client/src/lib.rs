//! A client of Quorate whose writes happen exactly once.
//!
//! An etcd client that gets no answer to a put cannot know whether it happened; if it asks again, it may happen twice. A [`Session`]
//! numbers its requests, and the cluster keeps the answers: so it may ask again, any member, as often as it takes, and is told what
//! the first copy did, its revision included. Opened in order, a session also applies what is under way together in the order in which it was
//! asked for. What this promises, what it costs and when a session ends: `docs/sessions.md`.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use quorate_client::{Session, Settings};
//! use quorate_server::proto::etcdserverpb::PutRequest;
//!
//! let settings = Settings::new(["http://10.0.0.1:2379", "http://10.0.0.2:2379", "http://10.0.0.3:2379"])?;
//! let session = Session::open(settings).await?;
//! let put = PutRequest { key: "account".into(), value: "7".into(), ..PutRequest::default() };
//! let answer = session.put(put).await?;
//! # Ok(()) }
//! ```
//!
//! # Map
//! `session` is what a program uses; `sequences` numbers its requests; `endpoints` is whom to ask next; `error` is how a request
//! may end.

mod endpoints;
mod error;
mod sequences;
mod session;

pub use endpoints::{Settings, SettingsError};
pub use error::CallError;
pub use session::Session;
