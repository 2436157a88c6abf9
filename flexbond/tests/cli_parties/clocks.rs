//! Clocks of parties that are hours off: nothing depends on them.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::program::{End, PATIENCE, Program, scrape};
use crate::site::{Party, Site};

/// Shifts what a program sees of the wall clock.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    long failed = syscall(SYS_clock_gettime, clock, time);
    if (failed == 0 && clock == CLOCK_REALTIME)
        time->tv_sec += atol(getenv("TEST_CLOCK_SHIFT"));
    return failed;
}
"#;

/// A library that is loaded first; none where there is no compiler.
fn shim(site: &Site) -> Option<String> {
    let source = site.write("clock.c", SHIM);
    let library = site.path("clock.so").to_str()?.to_owned();
    let arguments = ["-shared", "-fPIC", "-o", &library, &source];
    let compiled = Command::new("cc").args(arguments).status();
    compiled.is_ok_and(|status| status.success()).then_some(library)
}

fn shifted(library: &str, seconds: i64, arguments: &[&str]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flexbond"));
    command
        .env("LD_PRELOAD", library)
        .env("TEST_CLOCK_SHIFT", seconds.to_string());
    Program::start(command, arguments)
}

#[cfg(target_os = "linux")]
#[test]
fn a_time_to_live_does_not_depend_on_the_clocks_of_parties() {
    let site = Site::new();
    let Some(library) = shim(&site) else {
        println!("NOT TESTED: no C compiler");
        return;
    };
    let mut server = site.serve("store = \"messages.redb\"", "", "");
    let url = scrape::url(&mut server.program);
    let hour = 3600;
    let run = |seconds: i64, party: &Party, arguments: &[&str], input: &str| -> End {
        let all = [&["federation", "--config", &*party.file], arguments].concat();
        let mut program = shifted(&library, seconds, &all);
        program.write(input);
        program.end()
    };
    let ttl = |millis: u32| json!({"limits": {"ttl_ms": millis}});
    let [lasting, brief] =
        [60_000, 300].map(|millis| site.party_with(&server.endpoint, "a", &["a", "b"], &ttl(millis)));
    let b = site.party(&server.endpoint, "b");
    let (send, recv) = (
        ["send", "--to", "b", "--channel", "x"],
        ["recv", "--from", "a", "--channel", "x"],
    );
    // It would be over, or never be over, by somebody's clock.
    for (number, shift) in [hour, -hour].into_iter().enumerate() {
        let value = number.to_string();
        let end = run(shift, &lasting, &send, &value);
        assert_eq!(end.code, Some(0), "{end:?}");
        let end = run(-shift, &b, &recv, "");
        assert_eq!((end.code, &*end.stdout), (Some(0), &[value][..]), "{end:?}");
        let end = run(shift, &brief, &send, "0");
        assert_eq!(end.code, Some(0), "{end:?}");
        let expired = "flexbond_serve_expired_messages_total{job=\"job\",party=\"a\"}";
        let deadline = Instant::now() + PATIENCE;
        while scrape::value(&scrape::get(&url, ""), expired) != Some((number + 1) as f64) {
            assert!(Instant::now() < deadline, "{}", scrape::get(&url, ""));
            std::thread::sleep(Duration::from_millis(10));
        }
        let end = run(-shift, &b, &recv, "");
        assert_eq!((end.code, end.stdout.len()), (Some(1), 0), "{end:?}");
        assert!(
            end.stderr[0].contains("has waited too long, or is larger than what is taken here"),
            "{end:?}"
        );
    }
}
