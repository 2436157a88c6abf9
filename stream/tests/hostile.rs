//! A receiver at a tcp port, an honest source, and next to it one that breaks every rule, byte by byte.
#![cfg(feature = "tcp")]

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use flexbond_stream::{Attach, ConnectOptions, Header, Mode, ReceiveError, Stream, StreamMessage};

/// No test waits longer for anything.
const DEADLINE: Duration = Duration::from_secs(10);

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("it takes too long")
}

struct Port {
    receiver: Stream,
    honest: Stream,
    frame: u64,
}

impl Port {
    async fn new() -> Self {
        let options = ConnectOptions::new().mode(Mode::Pull).attach(Attach::Bind);
        let receiver = soon(Stream::connect("tcp://127.0.0.1:0", options)).await.unwrap();
        let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Connect);
        let honest = soon(Stream::connect(&*receiver.endpoint().to_string(), options))
            .await
            .unwrap();
        let mut port = Port {
            receiver,
            honest,
            frame: 0,
        };
        assert_eq!(port.next().await, 0);
        port
    }

    /// The honest source sends one frame more, which comes as it is; how much came before that was none.
    async fn next(&mut self) -> u64 {
        self.frame += 1;
        let header = Header::new("raw-1.0").with("frame", self.frame);
        let message = StreamMessage::raw(header, ["data".into()]);
        soon(self.honest.send(message)).await.unwrap();
        let mut malformed = 0;
        loop {
            match soon(self.receiver.receive()).await {
                Ok(message) => {
                    assert_eq!(message.header.frame(), Some(self.frame));
                    assert_eq!(message.parts(), ["data"]);
                    return malformed;
                }
                Err(ReceiveError::Malformed { .. }) => malformed += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn connect(&self) -> TcpStream {
        let endpoint = self.receiver.endpoint().to_string();
        let address = endpoint.strip_prefix("tcp://").expect("a tcp endpoint");
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    }
}

/// The other side ends the connection.
async fn ended(mut stream: TcpStream) {
    let mut rest = [0; 4096];
    soon(async {
        loop {
            match stream.read(&mut rest) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::task::yield_now().await,
                Err(_) => return,
            }
        }
    })
    .await;
}

/// What stands at the beginning of a connection of a PUSH socket (RFC 37).
fn handshake() -> Vec<u8> {
    let mut bytes = vec![0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 1];
    bytes.extend_from_slice(b"NULL");
    bytes.resize(64, 0);
    bytes.extend_from_slice(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH");
    bytes
}

fn message<const N: usize>(parts: [&[u8]; N]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let more = u8::from(index + 1 < N);
        bytes.push(2 | more);
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[tokio::test]
async fn headers_that_lie_are_told_counted_and_harm_no_other_source() {
    let mut port = Port::new().await;
    let deep = [b"{\"htype\":".to_vec(), vec![b'['; 100_000]].concat();
    let array = |fields: &str| format!(r#"{{"htype":"array-1.0",{fields}}}"#).into_bytes();
    let headers = [
        Vec::new(),
        b"\xff\xfe\0".to_vec(),
        b"[]".to_vec(),
        b"{\"htype\":7}".to_vec(),
        deep,
        array(r#""type":"float64","shape":[4294967296,4294967296]"#),
        array(r#""type":"float64","shape":[18446744073709551615,2]"#),
        array(r#""type":"float64","shape":[-1]"#),
        array(r#""type":"float1024","shape":[1]"#),
        array(r#""type":"uint8","shape":[1000000000]"#),
        array(r#""shape":[3]"#),
        array(r#""type":"uint8""#),
    ];
    let mut raw = port.connect();
    raw.write_all(&handshake()).unwrap();
    for header in &headers {
        raw.write_all(&message([header, b"abc"])).unwrap();
    }
    let mut malformed = 0;
    while malformed < headers.len() as u64 {
        malformed += port.next().await;
    }
    // It may go on: that somebody's data are wrong is no reason to hear no more of them.
    let good = [&b"{\"htype\":\"raw-1.0\",\"frame\":7}"[..], b"late"];
    raw.write_all(&message(good)).unwrap();
    let late = soon(port.receiver.receive()).await.unwrap();
    assert_eq!(late.parts(), ["late"]);
    let totals = port.receiver.statistics().totals();
    assert_eq!(totals.malformed, headers.len() as u64);
}

#[tokio::test]
async fn bytes_that_are_no_messages_end_their_connection_only() {
    let mut port = Port::new().await;
    let whole = handshake();
    for end in 0..whole.len() {
        let mut raw = port.connect();
        raw.write_all(&whole[..end]).unwrap();
    }
    let mut wrong_type = handshake();
    let last = wrong_type.len() - 4;
    wrong_type[last..].copy_from_slice(b"DISH");
    let nonsense = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        wrong_type,
        // A length that nobody has, one that is none, and a command that is cut off.
        [whole.clone(), b"\x02\x3f\xff\xff\xff\xff\xff\xff\xff".to_vec()].concat(),
        [whole.clone(), b"\x02\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()].concat(),
        [whole, b"\x04\x02\xffX".to_vec()].concat(),
    ];
    for bytes in nonsense {
        let mut raw = port.connect();
        raw.write_all(&bytes).unwrap();
        ended(raw).await;
        assert_eq!(port.next().await, 0, "nothing of it is a message");
    }
    assert_eq!(port.receiver.statistics().totals().malformed, 0);
}
