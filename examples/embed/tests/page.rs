//! The page `docs/embedding.md` shows this example as it is.

#[test]
fn all_code_on_the_page_is_the_examples_own() {
    let sources = [include_str!("../src/lib.rs"), include_str!("../src/main.rs"), include_str!("simulated.rs")];
    let page = include_str!("../../../docs/embedding.md");
    let shown: Vec<&str> = page.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(shown.len(), sources.len());
    for (source, shown) in sources.iter().zip(shown) {
        let own = source.split_once("]\n").and_then(|(_, rest)| rest.split_once("// [end]")).map(|(own, _)| own);
        assert_eq!(own.map(str::trim_end), Some(shown.trim_end()), "copy what stands between the marks onto the page");
    }
}
