//! Counts apples on three replicas.

use quorate_example_embed::count_apples;

fn main() -> anyhow::Result<()> {
    let (runtime, directory) = (tokio::runtime::Runtime::new()?, tempfile::tempdir()?);
    println!("{} apples", tokio::task::LocalSet::new().block_on(&runtime, count_apples(directory.path()))?);
    Ok(())
}
