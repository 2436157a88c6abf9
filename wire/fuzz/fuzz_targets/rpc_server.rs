//! A whole server of calls, before a client that sends anything: it answers in its own protocol, goes on to serve others,
//! and nothing is under way in the end.
#![no_main]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flexbond_rpc::envelope::{Codec, Envelope, Flags, Kind, Method};
use flexbond_rpc::server::{Incoming, Options, Server};
use flexbond_rpc::{Failure, Methods};
use flexbond_session::socket::{self, Dealer};
use flexbond_transport::{Frame, Message};
use flexbond_wire_fuzz::Script;
use futures_util::{FutureExt, StreamExt, stream};
use libfuzzer_sys::fuzz_target;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// Longer than anything takes. The clock jumps to the next event.
const DEADLINE: Duration = Duration::from_secs(600);
const NAMES: [&str; 7] = [
    "add",
    "wait",
    "count",
    "total",
    "echo",
    "flexbond.methods",
    "none",
];

fuzz_target!(|data: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        timeout(DEADLINE, serve(Script(data))).await.expect("it ends");
    });
});

fn methods() -> Result<Methods, flexbond_rpc::AddError> {
    Methods::new()
        .add("add", async |(a, b): (u8, u8)| {
            Ok::<_, Failure>(u16::from(a) + u16::from(b))
        })?
        .add("wait", async |milliseconds: u8| {
            sleep(Duration::from_millis(milliseconds.into())).await;
            Ok::<_, Failure>(milliseconds)
        })?
        .add_stream("count", async |to: u8| {
            Ok::<_, Failure>(stream::iter((0..to).map(Ok::<_, Failure>)))
        })?
        .add_upload("total", async |(start, mut items): (u64, Incoming<u8>)| {
            let mut total = start;
            while let Some(item) = items.next().await {
                total = total.wrapping_add(u64::from(item?));
            }
            Ok::<_, Failure>(total)
        })?
        .add_conversation("echo", async |((), items): ((), Incoming<String>)| {
            let said = stream::unfold(items, async |mut items| Some((items.next().await?, items)));
            Ok::<_, Failure>(said.map(|item| item.map_err(Failure::from)))
        })
}

async fn serve(mut script: Script<'_>) {
    static SERVERS: AtomicU64 = AtomicU64::new(0);
    let options = Options::new()
        .max_in_flight(4)
        .max_in_flight_per_connection(3)
        .max_in_flight_bytes(500)
        .max_request(300)
        .upload_window(2);
    let server = Server::with_options(methods().expect("no name twice"), options).expect("valid");
    let name = format!("inproc://fuzz-{}", SERVERS.fetch_add(1, Ordering::Relaxed));
    server.bind(&*name).await.expect("its name is new");
    let stats = server.stats();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run_until(async {
        let _ = stopped.await;
    }));
    let client = dealer(&name);
    while !script.is_over() {
        match script.byte() {
            // Time for whatever is under way.
            0..0x10 => sleep(Duration::from_millis(script.byte().into())).await,
            0x10..0x20 => drain(&client),
            step => {
                let message = match step {
                    0x20..0x30 => script.message(),
                    _ => envelope(step, &mut script).encode().unwrap_or_default(),
                };
                if !message.is_empty() {
                    client.send(message).await.expect("the server is there");
                }
            }
        }
    }
    // It is as good as ever, for others and for this one.
    sleep(Duration::from_secs(10)).await;
    drain(&client);
    let other = dealer(&name);
    let call = Envelope::request(7, Method::new("add").expect("a name"), b"[1,2]".to_vec());
    let call = call.with_codec(Codec::Json).encode().expect("it is small");
    other.send(call).await.expect("the server is there");
    let answer = read(other.recv().await.expect("the server is there"));
    match answer.header.kind {
        Kind::Response => assert_eq!(&answer.body[..], b"3"),
        // The first client's calls take all the room that there is.
        _ => assert!(stats().in_flight > 0, "it was refused"),
    }
    drop(client);
    drop(other);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(stats().in_flight, 0, "nobody waits for anything");
    drop(stop);
    let stopped = running.await.expect("it does not panic");
    assert_eq!((stopped.aborted, stopped.stats.panics), (0, 0));
}

fn dealer(name: &str) -> Dealer {
    let dealer = Dealer::with_options(socket::Options::new()).expect("the defaults are valid");
    dealer.connect(name).expect("the server is bound");
    dealer
}

/// Reads all answers that have come.
fn drain(client: &Dealer) {
    while let Some(Ok(message)) = client.recv().now_or_never() {
        read(message);
    }
}

fn read(mut message: Message) -> Envelope {
    if message.len() > 1 && message[0].is_empty() {
        message.pop_front();
    }
    let envelope = Envelope::decode(message).expect("the server keeps to its protocol");
    assert!(
        matches!(
            envelope.header.kind,
            Kind::Response | Kind::Error | Kind::StreamItem | Kind::StreamEnd | Kind::Credit | Kind::Pong
        ),
        "a server says no {}",
        envelope.header.kind
    );
    envelope
}

/// One that is right in most things.
fn envelope(step: u8, script: &mut Script<'_>) -> Envelope {
    let (call, choice, count) = (u64::from(step & 3), script.byte(), script.byte());
    let len = script.byte();
    let body = Frame::copy_from_slice(script.take(usize::from(len)));
    let method = Method::new(NAMES[usize::from(choice) % NAMES.len()]).expect("a name");
    let envelope = match step >> 2 & 15 {
        0..6 => Envelope::request(call, method, body),
        6 => Envelope::one_way(call, method, body),
        7..10 => Envelope::stream_item(call, u32::from(count), body),
        10 => Envelope::stream_end(call, u32::from(count)),
        11 => Envelope::credit(call, u32::from(count) << (choice & 24)),
        12 => Envelope::cancel(call),
        13 => Envelope::ping(call),
        14 => Envelope::pong(call),
        _ => Envelope::response(call, body),
    };
    let mut flags = Flags::default();
    for (bit, flag) in [
        (0x80, Flags::STREAM),
        (0x40, Flags::UPLOAD),
        (0x20, Flags::IDEMPOTENT),
    ] {
        if choice & bit != 0 {
            flags = flags | flag;
        }
    }
    let codec = [Codec::Json, Codec::Postcard, Codec::MessagePack, Codec::Raw][usize::from(count >> 6)];
    let mut envelope = envelope.with_codec(codec).with_flags(flags);
    if envelope.header.kind == Kind::Request && choice & 0x10 != 0 {
        envelope = envelope
            .with_deadline(Duration::from_millis(u64::from(count)))
            .with_count(u32::from(count & 7));
    }
    envelope
}
