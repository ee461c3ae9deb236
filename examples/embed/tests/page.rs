//! The page `docs/embedding.md` shows this example as it is, and it is as short as the page says.

/// What stands between the marks, in the order of the page.
fn shown_code() -> Vec<&'static str> {
    let sources = [include_str!("../src/lib.rs"), include_str!("simulated.rs")];
    let blocks = sources.iter().flat_map(|source| source.split("// [end]"));
    blocks.filter_map(|block| block.split_once("]\n")).map(|(_, code)| code.trim_end()).collect()
}

#[test]
fn all_code_on_the_page_is_the_examples_own() {
    let page = include_str!("../../../docs/embedding.md");
    let on_the_page = page.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::trim_end);
    assert_eq!(on_the_page.collect::<Vec<_>>(), shown_code(), "copy what stands between the marks onto the page");
}

#[test]
fn it_takes_less_than_fifty_lines_besides_imports_and_comments() {
    let theirs = |line: &&str| !line.trim().is_empty() && !line.starts_with("use ") && !line.trim().starts_with("//");
    let lines = shown_code().into_iter().flat_map(str::lines).filter(theirs).count();
    assert!(lines < 50, "{lines}");
}
