//! `flexbond demo`: everything arrives, the table says so, and Ctrl-C ends it cleanly.

mod program;

use program::Program;

#[test]
fn everything_arrives() {
    let end = Program::flexbond(&["demo", "--quick"]).end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let table = end.stdout.join("\n");
    for text in [
        "PUSH → PULL",
        "PUB → 4 SUB",
        "REQ ↔ REP",
        "DEALER ↔ ROUTER",
        "data stream, array-1.0",
        "remote calls, 64 in flight",
        "group, 1 → 3 members",
        "allreduce, 2 ranks",
        "swap by a message server",
        "inproc",
        "ipc",
        "tcp",
        "udp",
        "1 MiB",
    ] {
        assert!(table.contains(text), "{text}: {table}");
    }
    assert!(
        table.contains("nothing was lost, damaged or out of order"),
        "{table}"
    );
    assert!(!table.contains("FAILED"), "{table}");
    // Without a terminal, progress is a line for each stage.
    assert_eq!(end.stderr.len(), 26, "{end:?}");
}

#[test]
fn an_interrupt_shows_what_was_done() {
    let mut demo = Program::flexbond(&["demo"]);
    demo.event("messages/s");
    demo.signal("INT");
    let end = demo.end();
    assert_eq!(end.code, Some(130), "{end:?}");
    assert!(end.stdout.join("\n").contains("nothing was lost"), "{end:?}");
    assert!(end.stderr.join("\n").contains("interrupted after"), "{end:?}");
}
