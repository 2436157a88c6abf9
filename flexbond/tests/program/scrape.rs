//! Asks programs for their metrics, as Prometheus does.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{PATIENCE, Program};

/// Where a program that was started with `--metrics 0` can be asked.
pub(crate) fn url(program: &mut Program) -> String {
    let line = program.event("metrics at ");
    line.rsplit(' ').next().unwrap().to_owned()
}

/// What a server answers to a GET.
pub(crate) fn get(url: &str, accept: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The value of a sample: that of the one whose name, with all its labels, is `sample`.
pub(crate) fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}
