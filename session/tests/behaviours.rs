//! The table of behaviours (`BEHAVIOURS.md`) names forty, and tests that exist.

use std::path::Path;

#[test]
fn the_table_names_forty_behaviours_and_tests_that_exist() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let table = std::fs::read_to_string(tests.join("BEHAVIOURS.md")).expect("the table");
    let mut numbers = Vec::new();
    for row in table.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let named: Vec<_> = row.split('`').filter(|text| text.contains("::")).collect();
        if let Ok(number) = cells[0].parse::<u32>() {
            numbers.push(number);
            assert_eq!(cells.len(), 4, "{row}");
            assert!(!named.is_empty(), "{number} names no test");
        }
        for name in named {
            let (target, test) = name.rsplit_once("::").expect("filtered above");
            let file = format!("{}.rs", target.replace("::", "/"));
            let source = std::fs::read_to_string(tests.join(file)).unwrap_or_default();
            assert!(
                source.contains(&format!("async fn {test}(")),
                "{name} does not exist: {row}"
            );
        }
    }
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
}
