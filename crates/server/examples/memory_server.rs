//! The front over the small store of the tests, for trying clients by hand:
//! `cargo run -p quorate-server --example memory_server -- 127.0.0.1:2379`. It holds everything in memory and is no
//! cluster.

use std::sync::Arc;

use quorate_server::{ServerConfig, serve};
use tokio::net::TcpListener;

#[path = "../tests/etcd_api/memory_backend.rs"]
mod memory_backend;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("serving on {}", listener.local_addr()?);
    let interrupted = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            eprintln!("cannot wait for an interrupt, stopping: {error}");
        }
    };
    let backend = Arc::new(memory_backend::MemoryBackend::new());
    serve(vec![listener], backend, ServerConfig::default(), interrupted).await?;
    Ok(())
}
