//! A recording whose writer is killed, and one whose disk is full.
#![cfg(all(feature = "recording", unix))]

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use flexbond_stream::recording::{
    DirectWrites, FolderWriteError, FolderWriter, Info, QueueOptions, Reader, RecordError, Recorder,
    SyncPolicy, Timestamp, TornTail, WriteError, WriteOptions, Writer,
};
use flexbond_transport::Message;

const CHILD: &str = "FLEXBOND_TEST_RECORDING";
const DIRECT: &str = "FLEXBOND_TEST_RECORDING_DIRECT";

fn message(number: u64) -> Message {
    let len = (number * 7_919 % 40_000) as usize;
    Message::from([
        number.to_le_bytes().to_vec(),
        vec![number as u8; len],
        vec![1; (number % 3) as usize],
    ])
}

/// This test program again, running only the test `name`, which does its work when it finds `path`.
fn child(name: &str, path: &Path, direct: DirectWrites) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]);
    command.env(CHILD, path).env(DIRECT, format!("{direct:?}"));
    command.stdout(Stdio::null());
    command
}

fn work() -> Option<PathBuf> {
    env::var_os(CHILD).map(PathBuf::from)
}

/// How the child is to write.
fn options() -> WriteOptions {
    WriteOptions::new().direct(match env::var(DIRECT).as_deref() {
        Ok("Always") => DirectWrites::Always,
        Ok("Never") => DirectWrites::Never,
        _ => DirectWrites::Auto,
    })
}

/// Kills `child` once the file at `path` has `len` bytes.
fn kill_at(mut child: Child, path: &Path, len: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::metadata(path).map_or(0, |metadata| metadata.len()) < len {
        assert!(Instant::now() < deadline, "the child records");
        assert!(
            child.try_wait().unwrap().is_none(),
            "the child records until it is killed"
        );
        std::thread::yield_now();
    }
    // SIGKILL: nothing of the child runs after it.
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What the child does: records without end.
#[test]
fn child_records() {
    let Some(path) = work() else { return };
    let mut writer = match path.exists() {
        true => Writer::append(&path, options(), TornTail::Truncate).unwrap(),
        false => Writer::create(&path, options()).unwrap(),
    };
    for number in writer.summary().messages.. {
        writer
            .write(&message(number), Timestamp::from_nanos(number as i64))
            .unwrap();
    }
}

#[test]
fn killed_at_many_points_a_recording_keeps_every_whole_message_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.fbr");
    let mut before = 0;
    for round in 1..=8_u64 {
        // Further than last time by many messages, and at another place within one.
        let len = fs::metadata(&path).map_or(0, |metadata| metadata.len()) + round * 777_777;
        let direct = match round % 2 {
            0 => DirectWrites::Always,
            _ => DirectWrites::Never,
        };
        kill_at(child("child_records", &path, direct).spawn().unwrap(), &path, len);
        let reader = Reader::open(&path).unwrap();
        let (info, recovered) = (reader.info(), reader.recovered().unwrap());
        assert!(recovered.messages > before, "round {round}: {recovered:?}");
        assert_eq!((info.damaged, info.gaps), (0, 0), "round {round}");
        before = recovered.messages;
        let mut read = 0;
        for (number, recorded) in (0..).zip(reader) {
            let recorded = recorded.unwrap();
            assert_eq!(
                (recorded.number, &recorded.message),
                (number, &message(number)),
                "round {round}"
            );
            read += 1;
        }
        assert_eq!(read, recovered.messages);
    }
    let writer = Writer::append(&path, WriteOptions::new(), TornTail::Truncate).unwrap();
    assert_eq!(writer.finish().unwrap().messages, before);
    assert!(Info::verify(&path).unwrap().closed_cleanly);
}

/// What the child does: records into a disk that is too small, in files, in a folder, and through a thread.
#[test]
fn child_fills_the_disk() {
    let Some(path) = work() else { return };
    let file = path.join("run.fbr");
    let mut writer = Writer::create(&file, options().sync(SyncPolicy::OnClose)).unwrap();
    let error = (0..)
        .find_map(|number| writer.write(&message(number), Timestamp::default()).err())
        .unwrap();
    let WriteError::Stopped { kept, lost, .. } = &error else {
        panic!("{error}")
    };
    assert!(*kept > 20 && *lost > 0, "{error}");
    assert!(matches!(
        writer.write(&message(0), Timestamp::default()),
        Err(WriteError::Over)
    ));
    let info = Info::verify(&file).unwrap();
    assert_eq!(
        (info.messages, info.bytes_lost, info.damaged),
        (*kept, 0, 0),
        "{error}"
    );
    for (number, recorded) in (0..).zip(Reader::open(&file).unwrap()) {
        assert_eq!(recorded.unwrap().message, message(number));
    }
    fs::remove_file(&file).unwrap();

    let mut folder = FolderWriter::create(path.join("folder")).unwrap();
    let error = (0..)
        .find_map(|number| folder.write(&message(number)).err())
        .unwrap();
    let FolderWriteError::Write {
        kept, message: lost, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(kept, lost, "{error}");
    let parts = fs::read_dir(path.join("folder")).unwrap().count() as u64;
    assert_eq!(parts, 3 * kept, "nothing is left of the message that was lost");
    fs::remove_dir_all(path.join("folder")).unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let recorder = Recorder::create(&file, options(), QueueOptions::new()).unwrap();
        let mut given = 0;
        while recorder.record(message(given)).await.is_ok() {
            given += 1;
        }
        let RecordError::Stopped(error) = recorder.close().await.unwrap_err() else {
            unreachable!()
        };
        let WriteError::Stopped { kept, lost, .. } = &*error else {
            panic!("{error}")
        };
        assert_eq!(
            kept + lost,
            given,
            "every message that was taken is accounted for: {error}"
        );
        assert_eq!(Info::verify(&file).unwrap().messages, *kept);
    });
}

#[test]
fn a_full_disk_keeps_every_whole_message() {
    for direct in [DirectWrites::Always, DirectWrites::Never] {
        fill_the_disk(direct);
    }
}

/// What a command says until its end, which has to come in time.
fn output(mut command: Command) -> std::io::Result<Output> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut pipe = child.stderr.take().expect("it is piped");
    let errors = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ok(Output {
        status,
        stdout: Vec::new(),
        stderr: errors.join().expect("it reads"),
    })
}

fn fill_the_disk(direct: DirectWrites) {
    let folder = tempfile::tempdir().unwrap();
    let program = env::current_exe().unwrap();
    // A small file system of the test's own, in namespaces of its own.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg("mount -t tmpfs -o size=3m tmpfs \"$1\" || exit 77; exec \"$0\" --exact child_fills_the_disk --nocapture");
    command.arg(program).arg(folder.path()).env(CHILD, folder.path());
    command.env(DIRECT, format!("{direct:?}"));
    match output(command) {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() == Some(101) => {
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        }
        // Unit tests stop a writer at every byte; this says that the real file system was not tried.
        other => eprintln!("NOT TESTED: no small file system can be mounted here: {other:?}"),
    }
}
