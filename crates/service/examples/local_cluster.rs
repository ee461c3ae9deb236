//! A cluster in one process, for trying clients by hand: `cargo run -p quorate-service --example local_cluster -- DIRECTORY MEMBERS`.
//! Prints where clients reach it, and stays until standard input ends.

use quorate_service::LocalCluster;
use std::io::Read;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("the first argument is a directory for the data")?;
    let members: usize = arguments.next().map_or(Ok(3), |count| count.parse())?;
    let cluster = LocalCluster::start(Path::new(&directory), members)?;
    println!("{}", cluster.endpoints().join(","));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(cluster.shut_down());
    Ok(())
}
