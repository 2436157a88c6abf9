//! `m_generate` and `m_stats` against those of Python mflow: both modes, 1 MB and 10 kB, nothing lost on PUSH/PULL.

mod program;

use std::process::Command;
use std::time::Duration;

use program::{End, Program};

/// The programs of psi-mflow; the package installs no scripts of that name.
const PYTHON_STATS: &str = "from mflow.cli.stats import main; main()";
const PYTHON_GENERATE: &str = "from mflow.cli.generate import main; main()";
const PYTHON_DUMP: &str = "from mflow.cli.dump import main; main()";
const PYTHON_REPLAY: &str = "from mflow.cli.replay import main; main()";
/// Receives with mflow and says what it makes of each message.
const PYTHON_RECEIVE: &str = "
import sys, mflow
stream = mflow.connect(sys.argv[1])
for _ in range(int(sys.argv[2])):
    message = stream.receive()
    data = message.data['data'][0]
    print(message.data['header']['frame'], data.dtype, data.shape, int(data.astype('int64').sum()), flush=True)
";
/// Sends the same array with mflow's own handler, and counts.
const PYTHON_SEND: &str = "
import sys, numpy, mflow
from mflow.handlers import array_1_0
stream = mflow.connect('tcp://127.0.0.1:*', conn_type=mflow.BIND, mode=mflow.PUSH, linger=10000)
print(stream.socket.last_endpoint.decode(), flush=True)
data = numpy.arange(12, dtype='uint16').reshape(3, 4)
for frame in range(int(sys.argv[1])):
    header = {'htype': 'array-1.0', 'type': 'uint16', 'shape': [3, 4], 'frame': frame}
    stream.send(__import__('json').dumps(header).encode(), send_more=True)
    stream.send(data.tobytes())
stream.disconnect()
";

/// Receives a detector's messages with mflow's handlers and says what they are.
const PYTHON_DETECTOR: &str = "
import sys, numpy, mflow
stream = mflow.connect(sys.argv[1])
for _ in range(int(sys.argv[2])):
    data = stream.receive().data
    header = data['header']
    words = [header['htype'], header['series']]
    if header['htype'] == 'dimage-1.0':
        pixels = numpy.frombuffer(data['part_3_raw'], dtype='uint16')
        words += [header['frame'], data['part_2']['shape'], len(pixels)]
    print(*words, flush=True)
";
/// Receives pulses with bsread and says what is in them.
const PYTHON_PULSES: &str = "
import sys, numpy
from bsread import PULL, Source
port = int(sys.argv[1].rsplit(':', 1)[1])
with Source(host='127.0.0.1', port=port, mode=PULL, receive_timeout=20_000) as stream:
    for _ in range(int(sys.argv[2])):
        data = stream.receive().data
        picture = data.data['GENERATOR:PICTURE'].value
        state = data.data['GENERATOR:STATE'].value
        print(data.pulse_id, len(data.data), picture.dtype, picture.shape, state, flush=True)
";

const SIZES: [&str; 2] = ["1", "0.01"];
const MODES: [(&str, &str); 2] = [("push", "pull"), ("pub", "sub")];

fn ours(program: &str, arguments: &[&str]) -> Program {
    let path = match program {
        "m_stats" => env!("CARGO_BIN_EXE_m_stats"),
        "m_dump" => env!("CARGO_BIN_EXE_m_dump"),
        "m_replay" => env!("CARGO_BIN_EXE_m_replay"),
        _ => env!("CARGO_BIN_EXE_m_generate"),
    };
    Program::start(Command::new(path), arguments)
}

/// A port that was free a moment ago: Python's m_generate does not say which one it has got.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp://127.0.0.1:{}", listener.local_addr().unwrap().port())
}

/// Waits until rates are shown; returns the message rate.
fn rate(program: &mut Program) -> f64 {
    loop {
        let line = program.line();
        let numbers: Vec<f64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        if line.starts_with("Data rate:") && numbers.len() == 2 && numbers[1] > 0.0 {
            return numbers[1];
        }
    }
}

/// A number of a summary.
fn total(end: &End, label: &str) -> f64 {
    let line = end.stdout.iter().find(|line| line.starts_with(label));
    let line = line.unwrap_or_else(|| panic!("no {label}: {end:?}"));
    line[label.len()..]
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap()
}

#[test]
fn our_generator_into_their_statistics() {
    for size in SIZES {
        for (send, receive) in MODES {
            let mut generate = ours("m_generate", &["-a", "tcp://127.0.0.1:0", "-s", size, "-m", send]);
            let endpoint = generate.line().rsplit(' ').next().unwrap().to_owned();
            let mut stats = Program::python(PYTHON_STATS, &[&endpoint, "-m", receive]);
            assert!(rate(&mut stats) > 0.0);
            rate(&mut generate);
            stats.signal("INT");
            let stats = stats.end();
            assert!(total(&stats, "Messages received:") > 0.0);
            generate.signal("INT");
            let generate = generate.end();
            assert_eq!(generate.code, Some(0), "{generate:?}");
            assert!(total(&generate, "Messages sent:") >= total(&stats, "Messages received:"));
        }
    }
}

#[test]
fn their_generator_into_our_statistics() {
    for size in SIZES {
        for (send, receive) in MODES {
            let address = free_address();
            let generate = Program::python(PYTHON_GENERATE, &["-a", &address, "-s", size, "-m", send]);
            let mut stats = ours("m_stats", &[&address, "-m", receive]);
            assert!(rate(&mut stats) > 0.0);
            assert!(rate(&mut stats) > 0.0);
            stats.signal("INT");
            let stats = stats.end();
            assert_eq!(stats.code, Some(0), "{stats:?}");
            assert!(total(&stats, "Messages received:") > 0.0);
            if send == "push" {
                // Their frame numbers have no gap: what was pushed came.
                assert_eq!(total(&stats, "Frames missing:"), 0.0, "{stats:?}");
            }
            interrupt(generate);
        }
    }
}

/// Ends their generator. A signal that comes just before it blocks in a send, with nobody left to take what it sends, is
/// seen by Python with the next one only.
fn interrupt(mut generate: Program) {
    for _ in 0..20 {
        generate.signal("INT");
        let mut line = generate.line_within(Duration::from_secs(1));
        while line.as_deref().is_some_and(|line| line != "Terminated by user.") {
            line = generate.line_within(Duration::from_secs(1));
        }
        if line.is_some() {
            break;
        }
    }
    generate.end();
}

#[test]
fn every_message_of_a_known_number_arrives_at_theirs() {
    for (size, count) in [("1", 300), ("0.01", 20_000)] {
        let n = count.to_string();
        let mut generate = ours(
            "m_generate",
            &["-a", "tcp://127.0.0.1:0", "-s", size, "--count", &n],
        );
        let endpoint = generate.line().rsplit(' ').next().unwrap().to_owned();
        let mut stats = Program::python(PYTHON_STATS, &[&endpoint]);
        // It ends when everything was handed over, so the receiver has it, or will have it in a moment.
        let generate = generate.end();
        assert_eq!(generate.code, Some(0), "{generate:?}");
        while stats.line_within(Duration::from_secs(2)).is_some() {}
        stats.signal("INT");
        assert_eq!(total(&stats.end(), "Messages received:"), f64::from(count));
    }
}

#[test]
fn their_handler_understands_our_arrays() {
    let mut generate = ours(
        "m_generate",
        &[
            "-a",
            "tcp://127.0.0.1:0",
            "--size-bytes",
            "400",
            "--count",
            "3",
            "--htype",
            "array-1.0",
        ],
    );
    let endpoint = generate.line().rsplit(' ').next().unwrap().to_owned();
    let end = Program::python(PYTHON_RECEIVE, &[&endpoint, "3"]).end();
    let bytes: Vec<u8> = (0..400_usize).map(|index| (index % 251) as u8).collect();
    let sum: i64 = bytes
        .chunks(4)
        .map(|word| i64::from(i32::from_le_bytes([word[0], word[1], word[2], word[3]])))
        .sum();
    let expected: Vec<String> = (0..3)
        .map(|frame| format!("{frame} int32 (1, 100) {sum}"))
        .collect();
    assert_eq!(end.stdout, expected, "{end:?}");
    assert_eq!(generate.end().code, Some(0));
}

#[test]
fn their_arrays_are_understood() {
    let mut sender = Program::python(PYTHON_SEND, &["50"]);
    let endpoint = sender.line();
    let stats = ours("m_stats", &[&endpoint, "--count", "50"]).end();
    assert_eq!(total(&stats, "Messages received:"), 50.0);
    assert_eq!(total(&stats, "Frames missing:"), 0.0);
    assert!(
        !stats
            .stdout
            .iter()
            .any(|line| line.starts_with("Malformed") || line.starts_with("Unknown"))
    );
    sender.end();
}

/// The files of a folder.
fn contents(folder: &std::path::Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name(), std::fs::read(entry.path()).unwrap_or_default())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn folders_go_both_ways() {
    let place = tempfile::tempdir().unwrap();
    let [seed, theirs, back] = ["seed", "theirs", "back"].map(|name| place.path().join(name));
    std::fs::create_dir(&seed).unwrap();
    std::fs::create_dir(&theirs).unwrap();
    for message in 0..6 {
        for part in 0..3 {
            let bytes = match part {
                0 => format!(r#"{{"htype":"raw-1.0","frame":{message}}}"#).into_bytes(),
                part => vec![message as u8; 1000 * part],
            };
            std::fs::write(seed.join(format!("{message:06}_{part:03}.raw")), bytes).unwrap();
        }
    }

    // Ours replays, theirs dumps.
    let mut replay = ours("m_replay", &[seed.to_str().unwrap(), "-a", "tcp://127.0.0.1:0"]);
    let line = replay.line();
    let endpoint = line.rsplit(' ').next().unwrap();
    let dump = Program::python(PYTHON_DUMP, &[endpoint, theirs.to_str().unwrap()]);
    let deadline = std::time::Instant::now() + program::PATIENCE;
    while contents(&theirs) != contents(&seed) {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?}",
            contents(&theirs).len()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(dump);
    assert_eq!(replay.end().code, Some(0));

    // Theirs replays what theirs has dumped, ours dumps.
    let address = free_address();
    let replay = Program::python(PYTHON_REPLAY, &[theirs.to_str().unwrap(), "-a", &address]);
    let dump = ours("m_dump", &[&address, back.to_str().unwrap(), "-n", "6"]).end();
    assert_eq!(dump.code, Some(0), "{dump:?}");
    assert_eq!(contents(&back), contents(&seed));
    drop(replay);
}

#[test]
fn their_handlers_understand_our_detector() {
    let mut generate = ours(
        "m_generate",
        &[
            "-a",
            "tcp://127.0.0.1:0",
            "--htype",
            "dectris-v1",
            "--shape",
            "20x10",
            "--compression",
            "none",
            "--header-detail",
            "all",
            "--images-per-series",
            "2",
            "--count",
            "4",
        ],
    );
    let endpoint = generate.line().rsplit(' ').next().unwrap().to_owned();
    let end = Program::python(PYTHON_DETECTOR, &[&endpoint, "8"]).end();
    let expected: Vec<String> = (1..=2)
        .flat_map(|series| {
            [
                format!("dheader-1.0 {series}"),
                format!("dimage-1.0 {series} 0 [20, 10] 200"),
                format!("dimage-1.0 {series} 1 [20, 10] 200"),
                format!("dseries_end-1.0 {series}"),
            ]
        })
        .collect();
    assert_eq!(end.stdout, expected, "{end:?}");
    assert_eq!(generate.end().code, Some(0));
}

#[test]
fn bsread_understands_our_pulses() {
    for compression in ["none", "lz4", "bslz4"] {
        let mut generate = ours(
            "m_generate",
            &[
                "-a",
                "tcp://127.0.0.1:0",
                "--htype",
                "bsread",
                "--shape",
                "20x10",
                "--compression",
                compression,
                "--channels",
                "3",
                "--count",
                "4",
            ],
        );
        let endpoint = generate.line().rsplit(' ').next().unwrap().to_owned();
        let end = Program::python(PYTHON_PULSES, &[&endpoint, "4"]).end();
        let expected: Vec<String> = (1_000_000..1_000_004)
            .map(|pulse| format!("{pulse} 6 uint16 (10, 20) RUNNING"))
            .collect();
        assert_eq!(end.stdout, expected, "{compression}: {end:?}");
        assert_eq!(generate.end().code, Some(0));
    }
}
