//! `quorate put|get|del|status|member`: so that nobody needs another tool.

mod kv;
mod members;
mod session;
mod status;

pub use kv::{DelArguments, GetArguments, PutArguments, del, get, put};
pub use members::{MemberArguments, member};
pub use status::{StatusArguments, status};

use anyhow::Result;
use std::future::Future;
use std::process::ExitCode;

fn block_on(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// The server's own words; the code says whether it was the server that spoke.
fn refusal(status: &tonic::Status) -> anyhow::Error {
    match status.code() {
        tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => {
            anyhow::anyhow!("no answer in time; a write may or may not have taken effect (--timeout-ms waits longer)")
        }
        _ => anyhow::anyhow!("{}", status.message()),
    }
}
