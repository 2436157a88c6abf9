//! `flexbond launch`: ranks, their output, and how it ends.

mod program;

use std::process::Command;

use program::Program;

fn launch(arguments: &[&str], script: &str) -> Program {
    let command = ["--", "sh", "-c", script];
    Program::flexbond(&[&["launch"], arguments, &command].concat())
}

#[test]
fn every_rank_knows_who_it_is() {
    let script = r#"echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $FLEXBOND_ENDPOINT"; echo "port $MASTER_PORT" >&2"#;
    let mut end = launch(&["-n", "3"], script).end();
    assert_eq!(end.code, Some(0), "{end:?}");
    end.stdout.sort();
    end.stderr.sort();
    let port = end.stderr[0].strip_prefix("[0] port ").expect("a port");
    for rank in 0..3 {
        let line = format!("[{rank}] {rank} {rank} 3 127.0.0.1 tcp://127.0.0.1:{port}");
        assert_eq!(end.stdout[rank], line);
        assert_eq!(end.stderr[rank], format!("[{rank}] port {port}"));
    }
    let end = launch(&["-n", "1", "--no-prefix"], "printf 'no end'").end();
    assert_eq!((end.code, &end.stdout[..]), (Some(0), &["no end".to_owned()][..]));
}

#[test]
fn every_rank_knows_how_to_multicast() {
    let script = r#"echo "$FLEXBOND_MULTICAST $FLEXBOND_INTERFACE""#;
    let told = ["--multicast", "239.1.2.3:5000", "--interface", "127.0.0.1"];
    let end = launch(&[&["-n", "2", "--no-prefix"], &told[..]].concat(), script).end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(end.stdout, ["239.1.2.3:5000 127.0.0.1"; 2]);
    let end = launch(&["-n", "1", "--multicast", "10.0.0.1:5000"], script).end();
    assert_eq!(end.code, Some(2), "{end:?}");
}

#[test]
fn the_first_that_fails_ends_all() {
    let script = "if [ $RANK = 1 ]; then exit 7; fi; exec sleep 300";
    let end = launch(&["-n", "3", "--grace", "0.1"], script).end();
    assert_eq!(end.code, Some(7), "{end:?}");
    assert!(
        end.stderr[0].contains("rank 1 ended with code 7; the others"),
        "{end:?}"
    );
    assert!(
        end.stderr[1].contains("error: rank 1 ended with code 7"),
        "{end:?}"
    );
    // One that does not want to go, after one that was killed.
    let script = "if [ $RANK = 0 ]; then kill -9 $$; fi; trap '' TERM; echo x; sleep 300; sleep 300";
    let end = launch(&["-n", "2", "--grace", "0.1"], script).end();
    assert_eq!(end.code, Some(128 + 9), "{end:?}");
    assert!(end.stderr[0].contains("rank 0 was ended by signal 9"), "{end:?}");
}

#[test]
fn signals_go_to_all() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let script = "trap 'echo bye; exit 0' INT TERM; echo ready; sleep 300 & wait";
        let mut launch = launch(&["-n", "2"], script);
        let mut ready = [launch.line(), launch.line()];
        ready.sort();
        assert_eq!(ready, ["[0] ready", "[1] ready"]);
        launch.signal(signal);
        let mut end = launch.end();
        end.stdout.sort();
        assert_eq!(
            (end.code, &end.stdout[..]),
            (Some(code), &["[0] bye".to_owned(), "[1] bye".to_owned()][..])
        );
    }
}

#[test]
fn a_terminal_that_goes_away_ends_all() {
    for (signal, code) in [("HUP", 129), ("QUIT", 131)] {
        // It would live on if nobody told it; what it has started would, too.
        let script = "trap 'echo bye; exit 0' TERM; echo $$; sleep 300 & wait";
        let mut launch = launch(&["-n", "1"], script);
        let id = launch.line();
        let id = id.strip_prefix("[0] ").expect("its id").to_owned();
        launch.signal(signal);
        let end = launch.end();
        let alive = is_alive(&id);
        if alive {
            let _ = Command::new("kill")
                .args(["-s", "KILL", "--", &format!("-{id}")])
                .status();
        }
        assert!(!alive, "the rank lives on after {signal}");
        assert_eq!(
            (end.code, &end.stdout[..]),
            (Some(code), &["[0] bye".to_owned()][..])
        );
    }
}

#[test]
fn who_is_started_with_nohup_does_not_hear_of_a_terminal_that_goes_away() {
    let mut command = Command::new("nohup");
    command.arg(env!("CARGO_BIN_EXE_flexbond"));
    let script = "echo ready; read line < $0; echo $line";
    let place = tempfile::tempdir().expect("a folder");
    let pipe = place.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    let pipe = pipe.to_str().expect("UTF-8");
    let mut launch = Program::start(command, &["launch", "-n", "1", "--", "sh", "-c", script, pipe]);
    assert_eq!(launch.line(), "[0] ready");
    launch.signal("HUP");
    let pipe = pipe.to_owned();
    // If it has ended, nobody opens the other end.
    std::thread::spawn(move || std::fs::write(pipe, "going on\n"));
    let end = launch.end();
    assert_eq!(
        (end.code, &end.stdout[..]),
        (Some(0), &["[0] going on".to_owned()][..])
    );
}

#[test]
fn standard_error_goes_on_when_nobody_reads_the_output() {
    let script = "trap '' PIPE; while echo more; do sleep 0.01; done 2>/dev/null; echo still here >&2";
    let mut launch = launch(&["-n", "1"], script);
    assert_eq!(launch.line(), "[0] more");
    launch.close_output();
    let end = launch.end();
    assert_eq!(
        (end.code, &end.stderr[..]),
        (Some(0), &["[0] still here".to_owned()][..])
    );
}

#[test]
fn too_few_descriptors_are_told_with_what_to_do() {
    let mut command = Command::new("sh");
    let script = r#"ulimit -n 24; exec "$0" launch -n 40 -- sleep 300"#;
    command.args(["-c", script]);
    let end = Program::start(command, &[env!("CARGO_BIN_EXE_flexbond")]).end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(
        end.stderr[0].contains("(os error 24) (raise the limit"),
        "{end:?}"
    );
}

/// Whether there is such a process, and it has not ended.
fn is_alive(id: &str) -> bool {
    let state = Command::new("ps")
        .args(["-o", "stat=", "-p", id])
        .output()
        .expect("ps runs");
    let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
    // Whoever inherits it may not have asked how it ended.
    !state.is_empty() && !state.starts_with('Z')
}

#[test]
fn what_a_rank_leaves_behind_is_killed() {
    let end = launch(&["-n", "1"], "(trap '' TERM INT; exec sleep 300) & echo $!").end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let id = end.stdout[0].strip_prefix("[0] ").expect("its id");
    assert!(!is_alive(id));
}

#[test]
fn what_takes_too_long_or_cannot_begin_is_told() {
    let end = launch(&["-n", "2", "--timeout", "0.2"], "exec sleep 300").end();
    assert_eq!(end.code, Some(3), "{end:?}");
    assert!(end.stderr[0].contains("after 0.2 s"), "{end:?}");
    let end = Program::flexbond(&["launch", "-n", "2", "--", "no-such-program-anywhere"]).end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(
        end.stderr[0].contains("cannot start no-such-program-anywhere"),
        "{end:?}"
    );
    assert_eq!(
        Program::flexbond(&["launch", "-n", "0", "--", "true"]).end().code,
        Some(2)
    );
}
