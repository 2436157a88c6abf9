//! Remote calls: many under way at once on one connection, each answer compared with what was asked.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::latency::Latency;
use super::payload::{Payload, Tally};
use super::stage::{Outcome, STALL, Stage, Watch, both};
use crate::rpc::envelope::{Codec, Method};
use crate::rpc::{Buffer, Client, Failure, Methods, Request, Response, Server};
use crate::transport::{Frame, Message};

/// Calls not yet answered at any time.
const WINDOW: usize = 64;
const CODEC: Codec = Codec::MessagePack;

pub(super) fn run(stage: Stage, time: Duration, watch: &Watch) -> Result<Outcome, String> {
    let (tell, endpoint) = oneshot::channel();
    let (enough, over) = oneshot::channel::<()>();
    let server = || async move {
        let methods = Methods::new()
            .add("echo", async |data: Buffer| Ok::<_, Failure>(data))
            .map_err(|error| error.to_string())?;
        let server = Server::new(methods);
        let endpoint = server
            .bind(stage.address())
            .await
            .map_err(|error| error.to_string())?;
        // The other end is gone only when it has failed, and then says so itself.
        let _ = tell.send(endpoint);
        server.run_until(async { drop(over.await) }).await;
        Ok(())
    };
    let caller = || async move {
        // Dropped with this end, however that comes.
        let _enough = enough;
        let endpoint = endpoint.await.map_err(|_| "there is no server".to_owned())?;
        let client = Client::connect(endpoint).map_err(|error| error.to_string())?;
        let mut payload = Payload::new(b"", stage.size);
        let (mut tally, mut latency) = (Tally::default(), Latency::default());
        let mut asked = VecDeque::with_capacity(WINDOW);
        let begin = Instant::now();
        let mut number = 0;
        loop {
            while asked.len() < WINDOW && !watch.is_over(number, begin, time) {
                let request = question(&payload.message(number))?;
                asked.push_back((Instant::now(), client.begin(request)));
                number += 1;
            }
            let Some((time, call)) = asked.pop_front() else {
                break;
            };
            let reply = call.await.map_err(|error| error.to_string())?;
            latency.note(time.elapsed());
            tally.note(&payload, Some(&answer(reply)?));
            if tally.fault.is_some() {
                break;
            }
            watch.messages.store(tally.messages, Ordering::Relaxed);
        }
        let elapsed = begin.elapsed();
        client.close().await;
        Ok((tally, latency, elapsed))
    };
    let ((), (tally, latency, elapsed)) = both(server, caller)?;
    Ok(Outcome::of([tally], elapsed).with_round_trips(latency))
}

fn question(message: &Message) -> Result<Request, String> {
    let method = Method::new("echo").map_err(|error| error.to_string())?;
    let data = Buffer::from(message[0].to_vec());
    let arguments = CODEC.encode(&data).map_err(|error| error.to_string())?;
    let mut request = Request::new(method, CODEC, arguments);
    request.timeout = Some(STALL);
    Ok(request)
}

fn answer(response: Response) -> Result<Message, String> {
    let data: Buffer = response
        .codec
        .decode(&response.body, response.buffers)
        .map_err(|error| error.to_string())?;
    Ok(Message::from(Frame::from(data.into_bytes())))
}
