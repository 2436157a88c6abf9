//! A peer made of bytes: speaks ZMTP by hand, so that it can also speak it wrongly, slowly, or as it was years ago.
#![allow(dead_code, reason = "each test target uses its own part")]

use flexbond_session::{Endpoint, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::harness::within;

/// Frame flags (RFC 37).
pub(crate) const MORE: u8 = 1;
pub(crate) const LONG: u8 = 2;
pub(crate) const COMMAND: u8 = 4;

/// A TCP connection to a socket under test.
pub(crate) struct Raw {
    stream: TcpStream,
}

/// One frame as it stood on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) flags: u8,
    pub(crate) body: Vec<u8>,
}

/// A greeting of ZMTP 3.
pub(crate) fn greeting(minor: u8, mechanism: &str) -> Vec<u8> {
    let mut greeting = vec![0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, minor];
    greeting.extend_from_slice(mechanism.as_bytes());
    greeting.resize(64, 0);
    greeting
}

/// A frame in the shortest form.
pub(crate) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = match u8::try_from(body.len()) {
        Ok(size) => vec![flags, size],
        Err(_) => [&[flags | LONG][..], &(body.len() as u64).to_be_bytes()].concat(),
    };
    frame.extend_from_slice(body);
    frame
}

/// A command frame.
pub(crate) fn command(name: &str, data: &[u8]) -> Vec<u8> {
    let name_size = u8::try_from(name.len()).expect("a short name");
    frame(COMMAND, &[&[name_size], name.as_bytes(), data].concat())
}

/// A property of a READY.
pub(crate) fn property(name: &str, value: &[u8]) -> Vec<u8> {
    let name_size = u8::try_from(name.len()).expect("a short name");
    let value_size = u32::try_from(value.len()).expect("a value of less than 4 GiB");
    [&[name_size], name.as_bytes(), &value_size.to_be_bytes(), value].concat()
}

/// A READY for this socket type, with more properties if any.
pub(crate) fn ready(socket_type: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut properties = property("Socket-Type", socket_type.as_bytes());
    for (name, value) in more {
        properties.extend(property(name, value));
    }
    command("READY", &properties)
}

/// A message in ZMTP 2 and 3 frames.
pub(crate) fn message(message: impl Into<Message>) -> Vec<u8> {
    let message = message.into();
    let last = message.len() - 1;
    message
        .iter()
        .enumerate()
        .flat_map(|(i, part)| frame(if i < last { MORE } else { 0 }, part))
        .collect()
}

/// A listener for sockets that connect, and its endpoint.
pub(crate) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("its address"));
    (listener, endpoint)
}

impl Raw {
    /// Connects to where a socket is bound.
    pub(crate) async fn connect(endpoint: &Endpoint) -> Raw {
        let endpoint = endpoint.to_string();
        let address = endpoint.strip_prefix("tcp://").expect("a tcp endpoint");
        let stream = within("a raw connection", TcpStream::connect(address))
            .await
            .expect("connected");
        stream.set_nodelay(true).expect("no delay");
        Raw { stream }
    }

    /// As [`connect`](Self::connect), from this address of the machine itself.
    pub(crate) async fn connect_from(from: &str, endpoint: &Endpoint) -> Raw {
        Raw::dial(from, endpoint, None).await
    }

    /// As [`connect_from`](Self::connect_from), with as little room in the kernel as it gives.
    pub(crate) async fn connect_small(from: &str, endpoint: &Endpoint) -> Raw {
        Raw::dial(from, endpoint, Some(4096)).await
    }

    async fn dial(from: &str, endpoint: &Endpoint, recv_buffer: Option<u32>) -> Raw {
        let endpoint = endpoint.to_string();
        let address = endpoint.strip_prefix("tcp://").expect("a tcp endpoint");
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = recv_buffer {
            socket.set_recv_buffer_size(bytes).expect("a small buffer");
        }
        let from = format!("{from}:0").parse().expect("an address");
        socket.bind(from).expect("an address of this machine");
        let address = address.parse().expect("an address");
        let stream = within("a raw connection", socket.connect(address))
            .await
            .expect("connected");
        stream.set_nodelay(true).expect("no delay");
        Raw { stream }
    }

    /// Takes the next connection of a socket.
    pub(crate) async fn accept(listener: &TcpListener) -> Raw {
        let (stream, _) = within("the socket to connect", listener.accept())
            .await
            .expect("accepted");
        stream.set_nodelay(true).expect("no delay");
        Raw { stream }
    }

    /// Writes these bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("room for raw bytes", self.stream.write_all(bytes))
            .await
            .expect("written");
    }

    /// Writes these bytes if the other side still listens.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("room for raw bytes", self.stream.write_all(bytes)).await
    }

    /// Reads exactly this many bytes.
    pub(crate) async fn recv(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let what = format!("{count} raw bytes");
        within(&what, self.stream.read_exact(&mut bytes))
            .await
            .expect("bytes before the end");
        bytes
    }

    /// Reads one frame of ZMTP 2 or 3.
    pub(crate) async fn recv_frame(&mut self) -> RawFrame {
        let flags = self.recv(1).await[0];
        let size = if flags & LONG == 0 {
            usize::from(self.recv(1).await[0])
        } else {
            u64::from_be_bytes(self.recv(8).await.try_into().expect("eight bytes")) as usize
        };
        RawFrame {
            flags,
            body: self.recv(size).await,
        }
    }

    /// Reads one message and no command.
    pub(crate) async fn recv_message(&mut self) -> Message {
        let mut message = Message::new();
        loop {
            let frame = self.recv_frame().await;
            assert_eq!(
                frame.flags & COMMAND,
                0,
                "unexpected command {:?}",
                String::from_utf8_lossy(&frame.body)
            );
            message.push_back(frame.body);
            if frame.flags & MORE == 0 {
                return message;
            }
        }
    }

    /// Reads one command: its name and data.
    pub(crate) async fn recv_command(&mut self) -> (String, Vec<u8>) {
        let frame = self.recv_frame().await;
        assert_eq!(
            frame.flags & COMMAND,
            COMMAND,
            "expected a command, not {:?}",
            frame.body
        );
        let name_size = usize::from(frame.body[0]);
        let (name, data) = frame.body[1..].split_at(name_size);
        (
            String::from_utf8(name.to_vec()).expect("a command's name"),
            data.to_vec(),
        )
    }

    /// Exchanges greetings (mechanism NULL); what the socket said.
    pub(crate) async fn greet(&mut self, minor: u8) -> Vec<u8> {
        self.send(&greeting(minor, "NULL")).await;
        let theirs = self.recv(64).await;
        assert_eq!(
            (theirs[0], theirs[9], theirs[10]),
            (0xFF, 0x7F, 3),
            "a greeting of ZMTP 3"
        );
        theirs
    }

    /// The whole handshake as a peer of this type that speaks 3.1; the data of the socket's READY.
    pub(crate) async fn handshake(&mut self, socket_type: &str) -> Vec<u8> {
        self.handshake_with(1, socket_type, &[]).await
    }

    /// The whole handshake with a minor version and properties.
    pub(crate) async fn handshake_with(
        &mut self,
        minor: u8,
        socket_type: &str,
        properties: &[(&str, &[u8])],
    ) -> Vec<u8> {
        self.greet(minor).await;
        self.send(&ready(socket_type, properties)).await;
        let (name, data) = self.recv_command().await;
        assert_eq!(name, "READY");
        data
    }

    /// Asks for a PONG and reads it: whatever was sent before has been read by then, and the connection lives.
    pub(crate) async fn echo(&mut self) {
        self.send(&command("PING", &[0, 0])).await;
        assert_eq!(self.recv_command().await, ("PONG".to_owned(), Vec::new()));
    }

    /// Reads until the socket ends the connection; how many bytes came.
    pub(crate) async fn ended(&mut self) -> usize {
        let mut scratch = vec![0; 65_536];
        let mut count = 0;
        within("the socket to end the connection", async {
            // A reset ends it as well as an orderly end.
            while let Ok(1..) = self.stream.read(&mut scratch).await.inspect(|read| count += read) {}
        })
        .await;
        count
    }

    /// The stream itself.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}
