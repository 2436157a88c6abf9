//! `m_dump`, `m_replay` and `flexbond record`: what is recorded comes back byte by byte, and what went wrong is said.

mod program;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use program::{End, PATIENCE, Program};
use serde_json::Value;
use tempfile::TempDir;

fn m_dump(arguments: &[&str]) -> Program {
    Program::start(Command::new(env!("CARGO_BIN_EXE_m_dump")), arguments)
}

/// Replays at a free port, and says where.
fn m_replay(arguments: &[&str]) -> (Program, String) {
    let arguments = [arguments, &["-a", "tcp://127.0.0.1:0"][..]].concat();
    let mut program = Program::start(Command::new(env!("CARGO_BIN_EXE_m_replay")), &arguments);
    let line = program.line();
    assert!(line.starts_with("Replaying "), "{line}");
    (program, line.rsplit(' ').next().unwrap().to_owned())
}

fn m_generate(arguments: &[&str]) -> (Program, String) {
    let arguments = [arguments, &["-a", "tcp://127.0.0.1:0"][..]].concat();
    let mut program = Program::start(Command::new(env!("CARGO_BIN_EXE_m_generate")), &arguments);
    let line = program.line();
    (program, line.rsplit(' ').next().unwrap().to_owned())
}

fn record(arguments: &[&str]) -> End {
    Program::flexbond(&[&["record"][..], arguments].concat()).end()
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder as mflow writes it: `count` messages of one to four parts, one of them empty, one large.
fn seed_folder(parent: &TempDir, count: usize) -> PathBuf {
    let folder = parent.path().join("seed");
    fs::create_dir(&folder).unwrap();
    for message in 0..count {
        let header = format!(r#"{{ "htype":"raw-1.0",  "frame":{message} }}"#);
        fs::write(folder.join(format!("{message:06}_000.raw")), header).unwrap();
        for part in 1..=message % 4 {
            let length = [0, 10, 70_000][(message + part) % 3];
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + message + part) as u8).collect();
            fs::write(folder.join(format!("{message:06}_{part:03}.raw")), bytes).unwrap();
        }
    }
    folder
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

#[test]
fn what_is_recorded_comes_back_byte_by_byte() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place, 50);
    for compression in ["none", "lz4"] {
        let file = place.path().join(format!("{compression}.fbr"));
        let (replay, endpoint) = m_replay(&[text(&seed)]);
        let dump = m_dump(&[
            &endpoint,
            "--record",
            text(&file),
            "--compression",
            compression,
            "-n",
            "50",
        ])
        .end();
        assert_eq!(dump.code, Some(0), "{dump:?}");
        assert!(
            dump.stdout.iter().any(|line| line == "Kept: 50 messages"),
            "{dump:?}"
        );
        let replay = replay.end();
        assert_eq!(replay.code, Some(0), "{replay:?}");
        assert!(replay.stdout[0].starts_with("Sent: 50 messages, "), "{replay:?}");

        let back = place.path().join(format!("{compression}-folder"));
        let (replay, endpoint) = m_replay(&[text(&file)]);
        let dump = m_dump(&[&endpoint, text(&back), "-n", "50"]).end();
        assert_eq!(dump.code, Some(0), "{dump:?}");
        assert_eq!(replay.end().code, Some(0));
        assert_eq!(contents(&back), contents(&seed), "{compression}");

        let info = record(&["info", "--json", text(&file)]);
        let info = json(&info.stdout[0]);
        assert_eq!(info["messages"], 50);
        assert_eq!(
            (&info["closed_cleanly"], &info["gaps"]),
            (&true.into(), &0.into())
        );
        assert_eq!(info["compression"], compression);
        assert_eq!(record(&["verify", text(&file), text(&back)]).code, Some(0));
    }
}

#[test]
fn a_rotated_recording_is_replayed_as_one() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place, 60);
    let file = place.path().join("run.fbr");
    let (replay, endpoint) = m_replay(&[text(&seed)]);
    let dump = m_dump(&[
        &endpoint,
        "--record",
        text(&file),
        "--rotate-size",
        "256K",
        "-n",
        "60",
    ])
    .end();
    assert_eq!(dump.code, Some(0), "{dump:?}");
    replay.end();
    assert!(place.path().join("run.000001.fbr").exists() && !file.exists());
    let again = m_dump(&[
        "tcp://127.0.0.1:1",
        "--record",
        text(&file),
        "--rotate-size",
        "256K",
    ])
    .end();
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr[0].contains("run.000000.fbr exists"), "{again:?}");

    // A file of the very name would be replayed in place of them.
    let beside = m_dump(&["tcp://127.0.0.1:1", "--record", text(&file), "--append"]).end();
    assert_eq!(beside.code, Some(1), "{beside:?}");
    assert!(
        beside.stderr[0].contains("run.000000.fbr exists") && !file.exists(),
        "{beside:?}"
    );

    let back = place.path().join("back");
    let (replay, endpoint) = m_replay(&[text(&file)]);
    assert_eq!(m_dump(&[&endpoint, text(&back), "-n", "60"]).end().code, Some(0));
    replay.end();
    assert_eq!(contents(&back), contents(&seed));
    assert_eq!(record(&["verify", text(&file)]).code, Some(0));
    let info = record(&["info", "--json", text(&file)]);
    assert!(info.stdout.len() > 1, "{info:?}");
    let sum: u64 = info
        .stdout
        .iter()
        .map(|line| json(line)["messages"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 60);

    fs::remove_file(place.path().join("run.000001.fbr")).unwrap();
    let verify = record(&["verify", text(&file)]);
    assert_eq!(verify.code, Some(1), "{verify:?}");
    assert!(verify.stderr[0].contains("are missing before"), "{verify:?}");
    let info = record(&["info", "--json", text(&file)]);
    assert_eq!(info.code, Some(1), "{info:?}");
    let missing: Vec<_> = info
        .stdout
        .iter()
        .map(|line| json(line)["missing_before"].clone())
        .collect();
    let (first, next) = (json(&info.stdout[0]), json(&info.stdout[1]));
    let number = |line: &Value, name: &str| line[name].as_u64().unwrap();
    let between = [
        number(&first, "last_number") + 1,
        number(&next, "first_number") - 1,
    ];
    assert_eq!(missing[..2], [Value::Null, between.to_vec().into()], "{info:?}");
    let (replay, endpoint) = m_replay(&[text(&file)]);
    let dump = m_dump(&[&endpoint, "--json", "--timeout", "20"]);
    let end = replay.end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.stderr.join("\n").contains("--skip-missing"), "{end:?}");
    drop(dump);
}

#[test]
fn numbered_files_are_not_recorded_beside_a_file_of_their_name() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("run.fbr");
    fs::write(&file, "an older recording").unwrap();
    let arguments = [
        "tcp://127.0.0.1:1",
        "--record",
        text(&file),
        "--rotate-size",
        "1M",
    ];
    let end = m_dump(&arguments).end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(
        end.stderr[0].contains("run.fbr exists") && end.stderr[0].contains("--force"),
        "{end:?}"
    );
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    let arguments = [&arguments[..], &["--force", "--timeout", "0.1"]].concat();
    assert_eq!(m_dump(&arguments).end().code, Some(3));
    assert!(!file.exists() && place.path().join("run.000000.fbr").exists());
}

#[test]
fn a_recording_that_is_written_is_not_written_by_another() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("run.fbr");
    let (generate, endpoint) = m_generate(&["--size-bytes", "100K", "--rate", "1000"]);
    let dump = m_dump(&[&endpoint, "--record", text(&file)]);
    grows_to(&file, 1_000_000);
    for how in [&["--append", "--cut-tail"][..], &["--force"]] {
        let arguments = [&["tcp://127.0.0.1:1", "--record", text(&file)], how].concat();
        let second = m_dump(&arguments).end();
        assert_eq!(second.code, Some(1), "{second:?}");
        assert!(second.stderr[0].contains("another program"), "{second:?}");
    }
    dump.signal("INT");
    assert_eq!(dump.end().code, Some(0));
    drop(generate);
    assert_eq!(record(&["verify", text(&file)]).code, Some(0));
}

#[test]
fn ranges_loops_and_rates() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place, 10);
    let (replay, endpoint) = m_replay(&[
        text(&seed),
        "--from",
        "2",
        "--to",
        "4",
        "--rate",
        "200",
        "--loop",
        "3",
    ]);
    let begin = Instant::now();
    let dump = m_dump(&[&endpoint, "--json", "-n", "6"]).end();
    let frames: Vec<u64> = dump.stdout[..6]
        .iter()
        .map(|line| json(line)["header"]["frame"].as_u64().unwrap())
        .collect();
    assert_eq!(frames, [2, 3, 2, 3, 2, 3]);
    // Five steps of 5 ms; how much longer is the machine's affair.
    assert!(begin.elapsed() >= Duration::from_millis(25));
    let end = replay.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.stdout.iter().any(|line| line == "Rounds: 3"), "{end:?}");
}

#[test]
fn only_headers_and_going_on_in_a_folder() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place, 6);
    let headers = place.path().join("headers");
    for round in 0..2 {
        let (replay, endpoint) = m_replay(&[text(&seed)]);
        let mut arguments = vec![endpoint.as_str(), text(&headers), "-s", "1", "-n", "6"];
        if round == 1 {
            let refused = m_dump(&arguments).end();
            assert_eq!(refused.code, Some(1), "{refused:?}");
            assert!(refused.stderr[0].contains("--append"), "{refused:?}");
            arguments.push("--append");
        }
        assert_eq!(m_dump(&arguments).end().code, Some(0));
        replay.end();
    }
    let names: Vec<String> = contents(&headers).into_keys().collect();
    let expected: Vec<String> = (0..12).map(|message| format!("{message:06}_000.raw")).collect();
    assert_eq!(names, expected);
}

#[test]
fn a_replay_that_sends_nothing_has_a_summary() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place, 3);
    for (how, code) in [(&["--wait", "0.05"][..], 3), (&["--from", "9"], 1)] {
        let here = ["--json", "-a", "tcp://127.0.0.1:0", text(&seed)];
        let end = Program::start(
            Command::new(env!("CARGO_BIN_EXE_m_replay")),
            &[&here[..], how].concat(),
        )
        .end();
        assert_eq!(end.code, Some(code), "{end:?}");
        let summary = &json(end.stdout.last().unwrap())["summary"];
        assert_eq!(
            (&summary["messages"], &summary["undelivered"]),
            (&0.into(), &0.into()),
            "{end:?}"
        );
    }
}

#[test]
fn a_missing_part_is_named_and_can_be_skipped() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place, 8);
    fs::remove_file(seed.join("000003_001.raw")).unwrap();
    fs::write(seed.join("notes.txt"), "mine").unwrap();
    let (replay, endpoint) = m_replay(&[text(&seed)]);
    let dump = m_dump(&[&endpoint, "--json", "-n", "3"]).end();
    assert_eq!(dump.code, Some(0), "{dump:?}");
    let end = replay.end();
    assert_eq!(end.code, Some(1), "{end:?}");
    let errors = end.stderr.join("\n");
    for said in ["000003_001.raw", "--skip-missing", "notes.txt"] {
        assert!(errors.contains(said), "{said}: {errors}");
    }

    let (replay, endpoint) = m_replay(&[text(&seed), "--skip-missing"]);
    let dump = m_dump(&[&endpoint, "--json", "-n", "7"]).end();
    let frames: Vec<u64> = dump.stdout[..7]
        .iter()
        .map(|line| json(line)["header"]["frame"].as_u64().unwrap())
        .collect();
    assert_eq!(frames, [0, 1, 2, 4, 5, 6, 7]);
    let end = replay.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(
        end.stderr.iter().any(|line| line.contains("000003_001.raw")),
        "{end:?}"
    );
    let verify = record(&["verify", "--json", text(&seed)]);
    assert_eq!(verify.code, Some(1));
    assert_eq!(json(&verify.stdout[0])["incomplete_messages"], 1);
}

/// Waits until the file has so many bytes.
fn grows_to(path: &Path, bytes: u64) {
    let deadline = Instant::now() + PATIENCE;
    while fs::metadata(path).map_or(0, |file| file.len()) < bytes {
        assert!(Instant::now() < deadline, "{} does not grow", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_recorder_that_was_killed_leaves_whole_messages() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("run.fbr");
    let (generate, endpoint) = m_generate(&["--size-bytes", "100K", "--rate", "2000"]);
    let dump = m_dump(&[&endpoint, "--record", text(&file)]);
    grows_to(&file, 5_000_000);
    dump.signal("KILL");
    assert_eq!(dump.end().code, None);
    drop(generate);

    let info = record(&["info", "--json", text(&file)]);
    assert_eq!(info.code, Some(0), "{info:?}");
    let info = json(&info.stdout[0]);
    assert_eq!(info["closed_cleanly"], false);
    let messages = info["messages"].as_u64().unwrap();
    assert!(messages >= 40, "{info}");
    assert_eq!(record(&["verify", text(&file)]).code, Some(1));

    let (replay, endpoint) = m_replay(&[text(&file)]);
    let count = messages.to_string();
    let dump = m_dump(&[&endpoint, "--json", "-n", &count]).end();
    assert_eq!(dump.code, Some(0), "{dump:?}");
    let end = replay.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.stdout[0].starts_with("Sent: "), "{end:?}");

    // It is gone on with, and is whole then.
    let (generate, endpoint) = m_generate(&["--size-bytes", "1K", "--count", "5"]);
    let dump = m_dump(&[
        &endpoint,
        "--record",
        text(&file),
        "--append",
        "--cut-tail",
        "-n",
        "5",
    ])
    .end();
    assert_eq!(dump.code, Some(0), "{dump:?}");
    assert!(
        dump.stdout.iter().any(|line| line == "Kept: 5 messages"),
        "{dump:?}"
    );
    generate.end();
    let verify = record(&["verify", "--json", text(&file)]);
    assert_eq!(verify.code, Some(0), "{verify:?}");
    assert_eq!(json(&verify.stdout[0])["messages"], messages + 5);
}

/// A source whose message is larger than any that is taken.
#[test]
fn a_message_that_is_too_large_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let place = TempDir::new().unwrap();
    let file = place.path().join("run.fbr");
    let dump = m_dump(&[&endpoint, "--record", text(&file), "--timeout", "2"]);
    let (mut source, _) = listener.accept().unwrap();
    // ZMTP 3.0, NULL; READY; the front of a frame of 2^40 bytes.
    let mut bytes = vec![0; 64];
    bytes[0] = 0xff;
    bytes[9..12].copy_from_slice(&[0x7f, 3, 0]);
    bytes[12..16].copy_from_slice(b"NULL");
    bytes.extend(b"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH");
    bytes.extend([2, 0, 0, 1, 0, 0, 0, 0, 0]);
    source.write_all(&bytes).unwrap();
    let end = dump.end();
    assert_eq!(end.code, Some(3), "{end:?}");
    let told: Vec<&String> = end
        .stderr
        .iter()
        .filter(|line| line.contains("disconnected: ") && line.contains("1099511627776"))
        .collect();
    assert_eq!(told.len(), 1, "{end:?}");
}

#[test]
fn verify_says_where_a_recording_is_damaged() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("run.fbr");
    let (generate, endpoint) = m_generate(&["--size-bytes", "1K", "--count", "5"]);
    let dump = m_dump(&[&endpoint, "--record", text(&file), "-n", "5"]).end();
    assert_eq!((dump.code, generate.end().code), (Some(0), Some(0)), "{dump:?}");
    let mut bytes = fs::read(&file).unwrap();
    let heads: Vec<usize> = (0..bytes.len())
        .filter(|&at| bytes[at..].starts_with(b"\xf5FBr"))
        .collect();
    // What the second message holds, and the head of the fourth.
    bytes[heads[1] + 64] ^= 1;
    bytes[heads[3]] ^= 1;
    fs::write(&file, bytes).unwrap();

    let verify = record(&["verify", text(&file)]);
    assert_eq!(verify.code, Some(1), "{verify:?}");
    let places = format!(
        "  damage         in 2 places: offset {} (message 1), offset {}",
        heads[1], heads[3]
    );
    assert!(verify.stdout.contains(&places), "{verify:?}");
    let verify = json(&record(&["verify", "--json", text(&file)]).stdout[0]);
    assert_eq!((&verify["damaged"], &verify["messages"]), (&2.into(), &3.into()));
    assert_eq!(verify["damages"][0]["number"], 1);
    assert_eq!(verify["damages"][1]["offset"], heads[3]);
}

#[test]
fn ctrl_c_closes_the_recording_and_sums_up() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("run.fbr");
    let (generate, endpoint) = m_generate(&["--size-bytes", "100K", "--rate", "1000"]);
    let dump = m_dump(&[&endpoint, "--record", text(&file), "--json", "--sync", "50"]);
    grows_to(&file, 1_000_000);
    dump.signal("INT");
    let end = dump.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    drop(generate);
    let summary = &json(end.stdout.last().unwrap())["summary"];
    assert_eq!(
        (&summary["dropped"], &summary["lost_frames"]),
        (&0.into(), &0.into())
    );
    let info = json(&record(&["info", "--json", text(&file)]).stdout[0]);
    assert_eq!(info["messages"], summary["recorded"]);
    assert_eq!(info["closed_cleanly"], true);
}

#[test]
fn a_full_disk_ends_the_recording_with_what_fits() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("run.fbr");
    let (generate, endpoint) = m_generate(&["--size-bytes", "100K"]);
    // A limit on the size of files stands for a disk that is full: both are errors of the write.
    let script = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\"";
    let arguments = [
        "-c",
        script,
        env!("CARGO_BIN_EXE_m_dump"),
        &endpoint,
        "--record",
        text(&file),
    ];
    let end = Program::start(Command::new("sh"), &arguments).end();
    drop(generate);
    assert_eq!(end.code, Some(1), "{end:?}");
    let error = end.stderr.last().unwrap();
    assert!(
        error.contains("messages are kept") && error.contains("make room"),
        "{error}"
    );
    let info = json(&record(&["info", "--json", text(&file)]).stdout[0]);
    assert_eq!(info["bytes_lost"], 0, "{info}");
    assert!(
        error.contains(&format!("{} messages are kept", info["messages"])),
        "{error}: {info}"
    );
    // Every message that was received is in one of the numbers.
    let number = |line: &str| -> u64 {
        let number = end.stdout.iter().find_map(|said| said.strip_prefix(line));
        let number = number.map_or("0", |rest| rest.split(' ').next().unwrap());
        number.replace(',', "").parse().unwrap()
    };
    let (received, lost) = (number("Received: "), number("Lost with the error: "));
    assert_eq!(received, number("Kept: ") + lost, "{end:?}");
    assert!(
        lost > 0 && error.contains(&format!("kept and {lost} ")),
        "{error}: {end:?}"
    );
    // The summary is said as at any other end.
    let kept = format!("Kept: {} messages", info["messages"]);
    assert!(end.stdout.iter().any(|line| line.starts_with(&kept)), "{end:?}");
    assert!(
        end.stdout.iter().any(|line| line.starts_with("Received: ")),
        "{end:?}"
    );
}

#[test]
fn a_full_disk_ends_a_folder_with_a_summary_for_programs() {
    let place = TempDir::new().unwrap();
    let folder = place.path().join("run");
    // Whole files fit until one does not: the limit is below the size of a part.
    let (generate, endpoint) = m_generate(&["--size-bytes", "3M"]);
    let script = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"";
    let arguments = [
        "-c",
        script,
        env!("CARGO_BIN_EXE_m_dump"),
        &endpoint,
        text(&folder),
        "--json",
    ];
    let end = Program::start(Command::new("sh"), &arguments).end();
    drop(generate);
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(
        end.stderr.last().unwrap().contains("0 messages are kept"),
        "{end:?}"
    );
    let summary = &json(end.stdout.last().unwrap())["summary"];
    // What could not be kept was received all the same.
    assert_eq!(
        (&summary["messages"], &summary["recorded"], &summary["lost"]),
        (&1.into(), &0.into(), &1.into())
    );
}

/// Exports with files of at most 1 MiB.
fn export_to_full_disk(arguments: &[&str]) -> End {
    let script = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"";
    let front = ["-c", script, env!("CARGO_BIN_EXE_flexbond"), "record", "export"];
    Program::start(Command::new("sh"), &[&front[..], arguments].concat()).end()
}

/// Records `count` arrays of so many bytes.
fn record_arrays(file: &Path, bytes: &str, count: &str) {
    let (generate, endpoint) = m_generate(&["--size-bytes", bytes, "--htype", "array-1.0", "--count", count]);
    let dump = m_dump(&[&endpoint, "--record", text(file), "--force", "-n", count]).end();
    assert_eq!(dump.code, Some(0), "{dump:?}");
    generate.end();
}

#[test]
fn a_full_disk_ends_an_export_with_the_arrays_that_fit() {
    let place = TempDir::new().unwrap();
    let (file, out) = (place.path().join("run.fbr"), place.path().join("run.npy"));
    // Longer than a buffer, and shorter.
    for (bytes, count) in [("300000", "10"), ("4000", "1000")] {
        record_arrays(&file, bytes, count);
        let end = export_to_full_disk(&[text(&file), text(&out)]);
        assert_eq!(end.code, Some(1), "{end:?}");
        let npy = fs::read(&out).unwrap();
        let size: usize = bytes.parse().unwrap();
        let (arrays, rest) = ((npy.len() - 128) / size, (npy.len() - 128) % size);
        assert!(arrays > 0 && rest == 0, "{} bytes", npy.len());
        let shape = format!("'shape': ({arrays}, 1, {})", size / 4);
        assert!(String::from_utf8_lossy(&npy[..128]).contains(&shape), "{shape}");
        fs::remove_file(&out).unwrap();
    }
    assert_eq!(contents(place.path()).len(), 1, "only the recording is left");
    fs::copy(&file, &out).unwrap();
    let same = record(&["export", text(&out), text(&out), "--force"]);
    assert_eq!(same.code, Some(2), "{same:?}");
    assert_eq!(fs::read(&out).unwrap(), fs::read(&file).unwrap());
}

#[test]
fn an_export_that_fails_leaves_what_was_there() {
    const LEFT: [&str; 3] = ["run.fbr", "run.npy", "seed"];
    let place = TempDir::new().unwrap();
    let (file, out) = (place.path().join("run.fbr"), place.path().join("run.npy"));
    record_arrays(&file, "300000", "10");
    fs::write(&out, "precious").unwrap();
    let bare = seed_folder(&place, 3);
    fs::remove_file(bare.join("000002_002.raw")).unwrap();
    let nothing = record(&["export", text(&bare), text(&out), "--force"]);
    assert!(nothing.stderr[0].contains("no array"), "{nothing:?}");
    let full = export_to_full_disk(&["--force", text(&file), text(&out)]);
    for end in [nothing, full] {
        assert_eq!(end.code, Some(1), "{end:?}");
        assert!(end.stderr[0].contains("is as it was"), "{end:?}");
        assert_eq!(fs::read(&out).unwrap(), b"precious");
    }
    let names = |folder: &Path| -> Vec<_> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(place.path()), LEFT, "no litter");
    let end = record(&["export", text(&file), text(&out), "--force"]);
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(fs::read(&out).unwrap().starts_with(b"\x93NUMPY"));
    assert_eq!(names(place.path()), LEFT, "no litter");
}

#[test]
fn an_export_that_is_interrupted_leaves_what_was_there() {
    let place = TempDir::new().unwrap();
    let (folder, out) = (place.path().join("folder"), place.path().join("run.npy"));
    fs::create_dir(&folder).unwrap();
    let header = r#"{"htype":"array-1.0","type":"uint8","shape":[4]}"#;
    for message in 0..2 {
        fs::write(folder.join(format!("{message:06}_000.raw")), header).unwrap();
    }
    fs::write(folder.join("000000_001.raw"), "1234").unwrap();
    // Reading stands still here, with one array exported.
    let pipe = folder.join("000001_001.raw");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for before in [Some("precious"), None] {
        if let Some(before) = before {
            fs::write(&out, before).unwrap();
        }
        let export = Program::flexbond(&["record", "export", text(&folder), text(&out), "--force"]);
        let deadline = Instant::now() + PATIENCE;
        // The file that is written, wherever it is.
        while fs::read_dir(place.path()).unwrap().count() < 2 + before.iter().count() {
            assert!(Instant::now() < deadline, "nothing is exported");
            std::thread::yield_now();
        }
        export.signal("INT");
        let end = export.end();
        assert_eq!(end.code, Some(130), "{end:?}");
        assert_eq!(fs::read_to_string(&out).ok().as_deref(), before, "{end:?}");
        let _ = fs::remove_file(&out);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "no litter");
    }
}

#[test]
fn a_thread_that_cannot_be_started_is_an_error() {
    let place = TempDir::new().unwrap();
    let (seed, file) = (seed_folder(&place, 3), place.path().join("run.fbr"));
    // Stacks that no address space has room for.
    let starved = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.env("RUST_MIN_STACK", (1_u64 << 60).to_string());
        Program::start(command, arguments).end()
    };
    for end in [
        starved(
            env!("CARGO_BIN_EXE_m_dump"),
            &["tcp://127.0.0.1:1", "--record", text(&file)],
        ),
        starved(
            env!("CARGO_BIN_EXE_m_replay"),
            &[text(&seed), "-a", "tcp://127.0.0.1:0"],
        ),
    ] {
        assert_eq!(end.code, Some(1), "{end:?}");
        let [error] = &end.stderr[..] else {
            panic!("{end:?}")
        };
        assert!(error.contains("cannot be started"), "{error}");
    }
    assert!(!file.exists(), "it can be tried again");
}

#[test]
fn a_folder_has_bytes_and_times() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place, 3);
    fs::write(seed.join("notes.txt"), "mine, and no part").unwrap();
    let nanos = |seconds: u64| seconds * 1_000_000_000;
    for (message, seconds) in [(0, 1_700_000_010), (1, 1_700_000_000), (2, 1_700_000_020)] {
        let file = fs::File::options()
            .append(true)
            .open(seed.join(format!("{message:06}_000.raw")))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
            .unwrap();
    }
    let bytes: usize = contents(&seed)
        .iter()
        .filter_map(|(name, contents)| name.ends_with(".raw").then_some(contents.len()))
        .sum();
    for command in ["info", "verify"] {
        let info = json(&record(&[command, "--json", text(&seed)]).stdout[0]);
        assert_eq!(info["bytes"], bytes, "{info}");
        assert_eq!(info["first_time_ns"], nanos(1_700_000_000), "{info}");
        assert_eq!(info["last_time_ns"], nanos(1_700_000_020), "{info}");
        let lines = record(&[command, text(&seed)]).stdout.join("\n");
        for said in ["2023-11-14T22:13:20", "2023-11-14T22:13:40", "70,1"] {
            assert!(lines.contains(said), "{said}: {lines}");
        }
    }
    let empty = place.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let info = json(&record(&["info", "--json", text(&empty)]).stdout[0]);
    assert_eq!(
        (&info["bytes"], &info["first_time_ns"]),
        (&0.into(), &Value::Null)
    );
}

#[test]
fn what_has_no_message_is_not_replayed() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("notes.txt"), "mine").unwrap();
    let end = Program::start(
        Command::new(env!("CARGO_BIN_EXE_m_replay")),
        &[text(place.path())],
    )
    .end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.stderr.join("\n").contains("no message"), "{end:?}");
}

#[test]
fn a_part_without_messages_waits_for_nobody() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place, 10);
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--from", "900"], 1, "messages 0 to 9, of 2"),
        (&["--to", "2001-01-01T00:00:00Z"], 1, "messages 0 to 9, of 2"),
        (&["--from", "+1000000s", "--loop"], 1, "messages 0 to 9, of 2"),
        (&["--from", "5", "--to", "3"], 2, "--from is not before --to"),
        (&["--from", "+5s", "--to", "+5s"], 2, "--from is not before --to"),
    ];
    for (arguments, code, said) in cases {
        let arguments = [&["replay", text(&seed), "-a", "tcp://127.0.0.1:0"], arguments].concat();
        let end = Program::flexbond(&arguments).end();
        assert_eq!(end.code, Some(code), "{arguments:?}: {end:?}");
        assert!(end.stderr.join("\n").contains(said), "{arguments:?}: {end:?}");
    }
}

#[test]
fn only_the_last_message_of_a_folder_can_have_been_torn() {
    let place = TempDir::new().unwrap();
    let seed = place.path().join("images");
    fs::create_dir(&seed).unwrap();
    for message in 0..4 {
        let image = [
            format!(r#"{{"htype":"dimage-1.0","series":1,"frame":{message}}}"#),
            r#"{"htype":"dimage_d-1.0","shape":[3,1],"type":"uint8","encoding":"<"}"#.to_owned(),
            "abc".to_owned(),
            r#"{"htype":"dconfig-1.0"}"#.to_owned(),
        ];
        for (part, bytes) in image.iter().enumerate() {
            fs::write(seed.join(format!("{message:06}_{part:03}.raw")), bytes).unwrap();
        }
    }
    assert_eq!(record(&["verify", text(&seed)]).code, Some(0));

    // An image that came short, and an array without data.
    fs::remove_file(seed.join("000001_003.raw")).unwrap();
    for part in 1..4 {
        fs::remove_file(seed.join(format!("000002_{part:03}.raw"))).unwrap();
    }
    let array = r#"{"htype":"array-1.0","type":"uint8","shape":[3],"frame":2}"#;
    fs::write(seed.join("000002_000.raw"), array).unwrap();
    let verify = record(&["verify", "--json", text(&seed)]);
    assert_eq!(verify.code, Some(0), "{verify:?}");
    let verify = json(&verify.stdout[0]);
    assert_eq!(
        (&verify["messages"], &verify["short_messages"]),
        (&4.into(), &1.into())
    );
    let back = place.path().join("back");
    let (replay, endpoint) = m_replay(&[text(&seed)]);
    assert_eq!(m_dump(&[&endpoint, text(&back), "-n", "4"]).end().code, Some(0));
    let replay = replay.end();
    assert_eq!(replay.code, Some(0));
    let told = replay.stderr.join("\n");
    assert!(
        told.contains("message 1 has no part 3") && !told.contains("message 2"),
        "{told}"
    );
    assert_eq!(contents(&back), contents(&seed));

    fs::remove_file(seed.join("000003_003.raw")).unwrap();
    let verify = record(&["verify", "--json", text(&seed)]);
    assert_eq!(verify.code, Some(1), "{verify:?}");
    assert!(verify.stderr.join("\n").contains("000003_003.raw"), "{verify:?}");
    assert_eq!(json(&verify.stdout[0])["incomplete_messages"], 1);
    let (replay, endpoint) = m_replay(&[text(&seed), "--skip-missing"]);
    let dump = m_dump(&[&endpoint, "--json", "-n", "3"]).end();
    assert_eq!(json(&dump.stdout[2])["header"]["frame"], 2, "{dump:?}");
    assert_eq!(replay.end().code, Some(0));
}

#[test]
fn messages_are_shown_for_people_and_programs() {
    let (generate, endpoint) = m_generate(&["--size-bytes", "1000", "--htype", "array-1.0", "--count", "4"]);
    let end = m_dump(&[&endpoint, "-n", "2"]).end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(
        end.stdout[0].starts_with("Message 0: array-1.0, 2 parts, "),
        "{end:?}"
    );
    assert!(
        end.stdout[1].starts_with("  header: {\"htype\":\"array-1.0\""),
        "{end:?}"
    );
    assert!(end.stdout[2].contains(" [1, 250], 1.00 kB, min "), "{end:?}");
    assert!(
        end.stderr
            .iter()
            .any(|line| line.starts_with("Received: 2 messages")),
        "{end:?}"
    );
    drop(generate);

    let mut push = Program::flexbond(&[
        "socket",
        "PUSH",
        "--bind",
        "tcp://127.0.0.1:0",
        "--print-endpoint",
    ]);
    let endpoint = push.line();
    push.write(r#"["{\"htype\":\"array-1.0\",\"type\":\"uint8\",\"shape\":[3]}", "abc"]"#);
    push.write(r#"["no header", "data"]"#);
    push.write(r#"["{\"htype\":\"mine-1.0\"}", "data"]"#);
    push.write(
        r#"["{\"htype\":\"dimage-1.0\",\"series\":1,\"frame\":2}", "{\"htype\":\"dimage_d-1.0\",\"shape\":[3,1],\"type\":\"uint8\",\"encoding\":\"zip<\"}", "abc", "{\"htype\":\"dconfig-1.0\"}"]"#,
    );
    let end = m_dump(&[&endpoint, "--json", "-v", "-n", "4"]).end();
    push.done();
    let lines: Vec<Value> = end.stdout.iter().map(|line| json(line)).collect();
    let array = &lines[0]["data"][0];
    assert_eq!(
        (&array["min"], &array["max"], &array["mean"]),
        (&97.into(), &99.into(), &98.0.into())
    );
    assert_eq!(array["shape"], serde_json::json!([3]));
    assert!(lines[1]["malformed"].is_string() && lines[1]["htype"].is_null());
    assert_eq!(lines[2]["data"][0]["first"], "64617461");
    assert_eq!(
        (&lines[3]["malformed"], &lines[3]["undecodable"]),
        (&Value::Null, &"unknown encoding \"zip<\"".into())
    );
    // As m_stats counts them.
    let summary = &lines[4]["summary"];
    let counts = ["messages", "malformed", "undecodable", "unreadable"].map(|name| &summary[name]);
    assert_eq!(counts, [4, 1, 1, 0].map(Value::from).each_ref());
}

#[test]
fn arrays_are_exported() {
    let place = TempDir::new().unwrap();
    let (file, out) = (place.path().join("run.fbr"), place.path().join("run.npy"));
    let (generate, endpoint) = m_generate(&["--size-bytes", "40", "--htype", "array-1.0", "--count", "4"]);
    assert_eq!(
        m_dump(&[&endpoint, "--record", text(&file), "-n", "4"])
            .end()
            .code,
        Some(0)
    );
    generate.end();
    let end = record(&["export", text(&file), text(&out), "--from", "1", "--json"]);
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(json(&end.stdout[0])["arrays"], 3);
    let bytes = fs::read(&out).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY") && bytes.len() > 120);
    assert!(String::from_utf8_lossy(&bytes).contains("'shape': (3, 1, 10)"));

    let again = record(&["export", text(&file), text(&out)]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr[0].contains("--force"), "{again:?}");
    let odd = record(&["export", text(&file), "out.csv"]);
    assert_eq!((odd.code, odd.stderr.len()), (Some(2), 1), "{odd:?}");
    #[cfg(feature = "hdf5")]
    {
        let out = place.path().join("run.h5");
        assert_eq!(record(&["export", text(&file), text(&out)]).code, Some(0));
        assert!(fs::read(&out).unwrap().starts_with(b"\x89HDF"));
    }
}

/// Generates and records `count` images or pulses; series have two messages more.
fn record_generated(file: &Path, arguments: &[&str], count: usize) {
    let (generate, endpoint) = m_generate(arguments);
    let count = count.to_string();
    let dump = m_dump(&[&endpoint, "--record", text(file), "--force", "-n", &count]).end();
    assert_eq!(dump.code, Some(0), "{dump:?}");
    generate.end();
}

#[test]
fn an_export_names_the_channel_and_those_that_there_are() {
    let place = TempDir::new().unwrap();
    let (file, out) = (place.path().join("run.fbr"), place.path().join("run.npy"));
    let arguments = ["--htype", "dectris-v2", "--shape", "16x8", "-n", "1"];
    record_generated(&file, &arguments, 3);
    let end = record(&["export", text(&file), text(&out)]);
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.stdout[0].starts_with("1 array in "), "{end:?}");
    assert_eq!(end.stdout[1], "  of channel threshold_1");
    assert!(
        end.stdout
            .iter()
            .any(|line| line.starts_with("  2 messages left out: ")),
        "{end:?}"
    );
    let end = record(&["export", text(&file), text(&out), "--force", "--json"]);
    let exported = json(&end.stdout[0]);
    assert_eq!(exported["channel"], "threshold_1");
    assert_eq!(exported["other_channels"], serde_json::json!([]));
    let end = record(&["export", text(&file), text(&out), "--force", "--channel", "foo"]);
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(
        end.stderr[0].contains("no message has the channel foo; there are threshold_1"),
        "{end:?}"
    );

    record_generated(&file, &["--htype", "bsread", "--channels", "1", "-n", "2"], 2);
    for (channel, said) in [
        (
            &[][..],
            "there are GENERATOR:VALUE-0000, GENERATOR:WAVEFORM, GENERATOR:STATE",
        ),
        (
            &["--channel", "GENERATOR:STATE"],
            "the channel GENERATOR:STATE is text, which is no array",
        ),
    ] {
        let end = record(&[&["export", text(&file), text(&out), "--force"], channel].concat());
        assert_eq!(end.code, Some(1), "{end:?}");
        assert!(end.stderr[0].contains(said), "{end:?}");
    }
    let value = [
        "export",
        text(&file),
        text(&out),
        "--force",
        "--channel",
        "GENERATOR:VALUE-0000",
    ];
    assert_eq!(record(&value).code, Some(0));
}

#[test]
fn errors_say_what_to_do() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("there.fbr");
    fs::write(&file, "something else").unwrap();
    let nobody = "tcp://127.0.0.1:1";
    let cases: &[(&[&str], i32, &str)] = &[
        (&["dump", nobody, "--record", text(&file)], 1, "--force"),
        (&["dump", nobody, "--append"], 2, "--record"),
        (
            &["dump", nobody, "--record", "x.fbr", "--sync", "often"],
            2,
            "never",
        ),
        (&["dump", "nowhere:99"], 2, "see flexbond --help"),
        (&["dump", nobody, "--timeout", "0.1"], 3, "no message"),
        (
            &["replay", text(&file), "-a", "tcp://127.0.0.1:0"],
            1,
            "there.fbr",
        ),
        (&["replay", "no-such-recording"], 1, "no-such-recording"),
        (
            &["replay", text(&file), "--rate", "5", "--speed", "2"],
            2,
            "--rate",
        ),
        (
            &["replay", text(&file), "--from", "soon"],
            2,
            "2026-11-22T01:00:00Z",
        ),
        (&["record", "info", text(&file)], 1, "there.fbr"),
        (&["record", "verify", "no-such-recording"], 1, "no-such-recording"),
    ];
    for (arguments, code, said) in cases {
        let end = Program::flexbond::<&str>(arguments).end();
        assert_eq!(end.code, Some(*code), "{arguments:?}: {end:?}");
        assert!(end.stderr.join("\n").contains(said), "{arguments:?}: {end:?}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"something else");
}

#[test]
fn a_replay_that_is_ended_says_what_it_still_waits_for() {
    let place = TempDir::new().unwrap();
    let seed = place.path().join("seed");
    fs::create_dir(&seed).unwrap();
    for message in 0..4 {
        fs::write(seed.join(format!("{message:06}_000.raw")), vec![message; 4 << 20]).unwrap();
    }
    let (replay, endpoint) = m_replay(&[text(&seed), "--loop", "--linger", "2"]);
    let file = place.path().join("run.fbr");
    let dump = m_dump(&[&endpoint, "--record", text(&file)]);
    grows_to(&file, 10_000_000);
    // It is there, and takes nothing any more.
    dump.signal("STOP");
    replay.signal("INT");
    let end = replay.end();
    dump.signal("KILL");
    dump.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(
        end.stderr
            .iter()
            .any(|line| line.contains("Ctrl-C again ends at once")),
        "{end:?}"
    );
    assert!(
        end.stdout
            .iter()
            .any(|line| line.starts_with("Messages that nobody took: ")),
        "{end:?}"
    );
}

#[test]
fn a_generator_without_a_receiver_says_so() {
    let (mut generate, endpoint) = m_generate(&["-i", "0.1"]);
    generate.event(&format!("no receiver has connected to {endpoint} yet"));
    generate.signal("INT");
    assert_eq!(generate.end().code, Some(0));
    let end = Program::flexbond(&["generate", "-s", "-1"]).end();
    assert_eq!(end.code, Some(2), "{end:?}");
    assert!(!end.stderr.join("\n").contains("unexpected argument"), "{end:?}");
}

#[test]
fn nobody_comes_within_the_wait() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place, 2);
    let (replay, _) = m_replay(&[text(&seed), "--wait", "0.1"]);
    let end = replay.end();
    assert_eq!(end.code, Some(3), "{end:?}");
    assert!(end.stderr[0].contains("no receiver"), "{end:?}");
}

#[test]
fn subscribers_get_everything_when_they_are_waited_for() {
    let place = TempDir::new().unwrap();
    let seed = seed_folder(&place, 20);
    let (replay, endpoint) = m_replay(&[text(&seed), "-m", "pub", "--wait", "inf"]);
    let dump = m_dump(&[&endpoint, "-m", "sub", "--json", "-n", "20"]).end();
    assert_eq!(dump.code, Some(0), "{dump:?}");
    assert_eq!(dump.stdout.len(), 21);
    assert_eq!(replay.end().code, Some(0));
}

#[test]
fn what_is_not_there_is_named() {
    let place = TempDir::new().unwrap();
    let (file, out) = (place.path().join("run.fbr"), place.path().join("run.npy"));
    record_arrays(&file, "40", "4");
    // A part that has nothing in it is no replay that went well.
    let end = Program::flexbond(&["replay", text(&file), "--from", "10", "-a", "tcp://127.0.0.1:0"]).end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(
        end.stderr
            .join("\n")
            .contains("no message to send in that part: it has messages 0 to 3, of 2"),
        "{end:?}"
    );

    let (generate, endpoint) = m_generate(&["--htype", "bsread", "-n", "2"]);
    let dump = m_dump(&[&endpoint, "--record", text(&file), "--force", "-n", "2"]).end();
    assert_eq!(dump.code, Some(0), "{dump:?}");
    generate.end();
    let end = record(&["export", text(&file), text(&out), "--channel", "CURRENT"]);
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.stderr[0].contains("the channel CURRENT"), "{end:?}");
    let nowhere = place.path().join("nowhere");
    let end = m_dump(&["tcp://127.0.0.1:1", "--record", text(&nowhere.join("run.fbr"))]).end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(
        end.stderr[0].contains(&format!("no folder {}", text(&nowhere))),
        "{end:?}"
    );
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_not_removed_for_a_recording() {
    let place = TempDir::new().unwrap();
    let socket = place.path().join("a-socket");
    let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let end = m_dump(&["tcp://127.0.0.1:1", "--record", text(&socket), "--force"]).end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.stderr[0].contains("no regular file"), "{end:?}");
    assert!(socket.exists());
}
