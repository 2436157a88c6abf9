//! A small HTTP/1.1 server that answers scrapes. Connections and the time of each are bounded.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::negotiation::Format;
use super::{Exposition, Health};

/// Connections at once. One more, and the oldest that has not asked for anything makes room.
const CONNECTIONS: usize = 64;
/// How long a connection may last, whatever the other side does.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// How long a request may take to arrive.
const REQUEST_LIMIT: Duration = Duration::from_secs(3);
/// How long the program may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The longest request, in bytes.
const MAX_REQUEST: usize = 16 << 10;
/// After a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Where scrapes are asked for their numbers.
type Asked = mpsc::Sender<oneshot::Sender<Exposition>>;

/// A connection, and whether its request has come.
struct Visit {
    task: AbortHandle,
    has_asked: Arc<AtomicBool>,
}

/// Serves until it is aborted.
pub(super) async fn serve(listener: TcpListener, asked: Asked) {
    let mut visits: VecDeque<Visit> = VecDeque::with_capacity(CONNECTIONS);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            make_room(&mut visits);
            sleep(PAUSE).await;
            continue;
        };
        visits.retain(|visit| !visit.task.is_finished());
        // If all are being answered, which takes seconds at most, this one asks again.
        if visits.len() >= CONNECTIONS && !make_room(&mut visits) {
            continue;
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let talk = talk(stream, asked.clone(), Arc::clone(&has_asked));
        // Whatever is wrong with a scraper is its own affair.
        let task = tokio::spawn(async { drop(timeout(CONNECTION_LIMIT, talk).await) }).abort_handle();
        visits.push_back(Visit { task, has_asked });
    }
}

/// Ends the oldest connection that has not asked for anything; whether there was one.
fn make_room(visits: &mut VecDeque<Visit>) -> bool {
    let silent = visits
        .iter()
        .position(|visit| !visit.has_asked.load(Ordering::Relaxed));
    let visit = silent.and_then(|index| visits.remove(index));
    visit.is_some_and(|visit| {
        visit.task.abort();
        true
    })
}

async fn talk(stream: TcpStream, asked: Asked, has_asked: Arc<AtomicBool>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let asked = asked.clone();
        async move { Ok::<_, Infallible>(answer(&request, &asked).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_LIMIT)
        .max_buf_size(MAX_REQUEST)
        // One scrape a connection: nobody occupies a place between two.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer<B>(request: &Request<B>, asked: &Asked) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(header::ALLOW, allowed);
        return refused;
    }
    let path = request.uri().path();
    match path {
        "/metrics" | "/health" => {}
        "/" => return plain(StatusCode::OK, "flexbond: the counters are at /metrics\n"),
        _ => return plain(StatusCode::NOT_FOUND, "the counters are at /metrics\n"),
    }
    let accept = request
        .headers()
        .get_all(header::ACCEPT)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
    match timeout(ANSWER_LIMIT, ask(asked)).await {
        Ok(Some(exposition)) if path == "/health" => match exposition.health() {
            Some(health) => healthy(health),
            None => plain(StatusCode::NOT_FOUND, "the counters are at /metrics\n"),
        },
        Ok(Some(exposition)) => respond(
            StatusCode::OK,
            format.content_type(),
            exposition.render(format).into(),
        ),
        _ => plain(StatusCode::SERVICE_UNAVAILABLE, "the program is busy\n"),
    }
}

/// In JSON, and in the code for who looks at that alone.
fn healthy(health: &Health) -> Response<Full<Bytes>> {
    let mut value = serde_json::json!({"status": health.status});
    if let Some(detail) = &health.detail {
        value["detail"] = detail.as_str().into();
    }
    let status = match health.is_well {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    respond(status, "application/json", format!("{value}\n").into())
}

async fn ask(asked: &Asked) -> Option<Exposition> {
    let (reply, numbers) = oneshot::channel();
    asked.send(reply).await.ok()?;
    numbers.await.ok()
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    respond(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    )
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What a server answers to these bytes, before it closes the connection.
    async fn exchange(request: &[u8], answers: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, mut scrapes) = mpsc::channel::<oneshot::Sender<Exposition>>(1);
        let server = tokio::spawn(serve(listener, asked));
        let program = tokio::spawn(async move {
            while let Some(reply) = scrapes.recv().await {
                if answers {
                    let mut exposition = Exposition::new();
                    exposition.counter("frames", "Frames.", &[], 7);
                    exposition.set_health(Health {
                        status: "store full",
                        is_well: false,
                        detail: Some("no \"room\"".to_owned()),
                    });
                    let _ = reply.send(exposition);
                }
            }
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        server.abort();
        program.abort();
        text
    }

    #[tokio::test]
    async fn a_scrape_is_answered() {
        let text = exchange(b"GET /metrics?x=y HTTP/1.1\r\nHost: a\r\n\r\n", true).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");
        assert!(
            text.ends_with(
                "\r\n\r\n# HELP frames_total Frames.\n# TYPE frames_total counter\nframes_total 7\n"
            )
        );

        let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text\r\n\r\n";
        let text = exchange(request, true).await;
        assert!(
            text.contains("content-type: application/openmetrics-text"),
            "{text}"
        );
        assert!(text.ends_with("frames_total 7\n# EOF\n"), "{text}");

        let text = exchange(b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", true).await;
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn the_silent_make_room_for_who_asks() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, _scrapes) = mpsc::channel::<oneshot::Sender<Exposition>>(1);
        let server = tokio::spawn(serve(listener, asked));
        let mut silent = Vec::new();
        for _ in 0..4 * CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        let answer = stream.read_to_string(&mut text);
        // Otherwise it comes after the time that requests have.
        timeout(REQUEST_LIMIT, answer)
            .await
            .expect("it need not wait")
            .unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        // The first of them was ended.
        assert_eq!(silent[0].read(&mut [0; 1]).await.unwrap(), 0);
        server.abort();
    }

    #[tokio::test]
    async fn how_the_program_is_stands_in_the_code_and_in_the_text() {
        let text = exchange(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", true).await;
        assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
        assert!(text.contains("content-type: application/json"), "{text}");
        let (_, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let health: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let expected = serde_json::json!({"status": "store full", "detail": "no \"room\""});
        assert_eq!(health, expected, "{text}");
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        for (request, status) in [
            (&b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n"[..], "404"),
            (
                b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                "405",
            ),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
            (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "503"),
            (b"nonsense\r\n\r\n", "400"),
        ] {
            let text = exchange(request, false).await;
            let line = format!("HTTP/1.1 {status} ");
            assert!(
                text.starts_with(&line),
                "{}: {text}",
                String::from_utf8_lossy(request)
            );
        }
    }
}
