//! What every transport of byte streams does.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, BytesMut};
use flexbond_transport::{ByteStream, Connection, Link};

use crate::{Place, poll_once};

impl Place {
    async fn streams(&self) -> (Arc<dyn ByteStream>, Arc<dyn ByteStream>) {
        let (near, far) = self.pair().await;
        (stream(near), stream(far))
    }
}

fn stream(connection: Connection) -> Arc<dyn ByteStream> {
    match connection.link {
        Link::Stream(stream) => stream.into(),
        other => panic!("expected a stream, not {other:?}"),
    }
}

/// What stands at a place of every test stream; a period that is no power of two shows a shifted block.
fn pattern(start: usize, len: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..251).collect();
    let skipped = start % period.len();
    let mut bytes = period.repeat((skipped + len).div_ceil(period.len()));
    bytes.truncate(skipped + len);
    bytes.drain(..skipped);
    bytes
}

async fn write_all(stream: &dyn ByteStream, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let count = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(data)])).await?;
        assert!(count > 0, "a write of something took nothing");
        data = &data[count..];
    }
    poll_fn(|cx| stream.poll_flush(cx)).await
}

async fn read_some(stream: &dyn ByteStream, buffer: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_read(cx, buffer)).await
}

async fn read_exact(stream: &dyn ByteStream, len: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(len);
    while all.len() < len {
        // As much room as is still wanted, so that no more is read.
        let mut buffer = BytesMut::with_capacity((len - all.len()).min(64 * 1024));
        let count = read_some(stream, &mut buffer).await.unwrap();
        assert!(count > 0, "the stream ended after {} of {len} bytes", all.len());
        assert_eq!(count, buffer.len());
        all.extend_from_slice(&buffer);
    }
    assert_eq!(all.len(), len, "more came than was asked for");
    all
}

async fn read_to_end(stream: &dyn ByteStream) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(16 * 1024);
        if read_some(stream, &mut buffer).await.unwrap() == 0 {
            return buffer.to_vec();
        }
    }
}

pub(crate) async fn bytes_arrive_in_order_both_ways(place: Place) {
    const LEN: usize = 300_000;
    let (near, far) = place.streams().await;
    let write = |stream: Arc<dyn ByteStream>, chunk: usize| async move {
        for piece in pattern(0, LEN).chunks(chunk) {
            write_all(&*stream, piece).await.unwrap();
        }
    };
    let ((), (), to_far, to_near) = tokio::join!(
        write(Arc::clone(&near), 777),
        write(Arc::clone(&far), 4099),
        read_exact(&*far, LEN),
        read_exact(&*near, LEN),
    );
    assert!(to_far == pattern(0, LEN) && to_near == pattern(0, LEN));
}

pub(crate) async fn many_slices_are_written_as_one(place: Place) {
    let (near, far) = place.streams().await;
    // More than a system call takes (1024), of all small sizes, some of them empty.
    let data = pattern(0, 40_000);
    let mut pieces: Vec<&[u8]> = Vec::new();
    let mut rest = &data[..];
    for i in 0.. {
        let (piece, after) = rest.split_at((i % 23).min(rest.len()));
        pieces.push(piece);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    assert!(pieces.len() > 3000);
    let writing = async {
        let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut slices = &mut slices[..];
        while slices.iter().any(|slice| !slice.is_empty()) {
            let count = poll_fn(|cx| near.poll_write(cx, slices)).await.unwrap();
            assert!(count > 0);
            IoSlice::advance_slices(&mut slices, count);
        }
        poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
    };
    let ((), read) = tokio::join!(writing, read_to_end(&*far));
    assert!(read == data);
}

pub(crate) async fn large_transfers_arrive(place: Place) {
    const LEN: usize = 16 << 20;
    let (near, far) = place.streams().await;
    let writing = tokio::spawn(async move {
        write_all(&*near, &pattern(0, LEN)).await.unwrap();
        poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
        near
    });
    let mut buffer = BytesMut::with_capacity(61_001);
    let mut at = 0;
    loop {
        let capacity = buffer.capacity();
        let count = read_some(&*far, &mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        assert_eq!(buffer.capacity(), capacity, "a buffer with room was grown");
        assert!(buffer == pattern(at, count), "bytes differ after {at}");
        at += count;
        buffer.advance(count);
        buffer.reserve(61_001);
    }
    assert_eq!(at, LEN);
    writing.await.unwrap();
}

pub(crate) async fn a_half_closed_stream_still_reads(place: Place) {
    let (near, far) = place.streams().await;
    write_all(&*near, b"question").await.unwrap();
    poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
    assert_eq!(read_to_end(&*far).await, b"question");
    assert_eq!(read_to_end(&*far).await, b"", "the end stays the end");
    write_all(&*far, b"answer").await.unwrap();
    poll_fn(|cx| far.poll_shutdown(cx)).await.unwrap();
    assert_eq!(read_to_end(&*near).await, b"answer");
}

pub(crate) async fn a_dropped_peer_is_seen(place: Place) {
    let (near, far) = place.streams().await;
    write_all(&*near, b"last words").await.unwrap();
    drop(near);
    assert_eq!(read_exact(&*far, 10).await, b"last words");
    let mut buffer = BytesMut::with_capacity(16);
    assert_eq!(read_some(&*far, &mut buffer).await.unwrap(), 0);
    // The first writes may still find room; one of them is told.
    let block = pattern(0, 64 * 1024);
    while write_all(&*far, &block).await.is_ok() {}
}

pub(crate) async fn a_waiting_reader_is_woken_by_the_end(place: Place) {
    let (near, far) = place.streams().await;
    let reading = tokio::spawn(async move { read_to_end(&*far).await });
    tokio::task::yield_now().await;
    drop(near);
    assert_eq!(reading.await.unwrap(), b"");
}

pub(crate) async fn a_writer_stalls_until_somebody_reads(place: Place) {
    let (near, far) = place.streams().await;
    let block = pattern(0, 251 * 256);
    // A new stream may look full until the runtime has heard from the system that it is not.
    let mut written = poll_fn(|cx| near.poll_write(cx, &[IoSlice::new(&block)]))
        .await
        .unwrap();
    // Fills what the system buffers; the kernel may move some of it on, so one refusal is not yet the end.
    let mut refusals = 0;
    while refusals < 100 {
        match poll_once(poll_fn(|cx| {
            near.poll_write(cx, &[IoSlice::new(&block[written % 251..])])
        })) {
            Poll::Ready(count) => {
                written += count.unwrap();
                refusals = 0;
            }
            Poll::Pending => {
                refusals += 1;
                tokio::task::yield_now().await;
            }
        }
        assert!(written < 256 << 20, "the writer never stalls");
    }
    let rest = pattern(written, 1 << 20);
    let total = written + rest.len();
    let writer = Arc::clone(&near);
    let writing = tokio::spawn(async move { write_all(&*writer, &rest).await.unwrap() });
    tokio::task::yield_now().await;
    assert!(!writing.is_finished());
    let read = read_exact(&*far, total).await;
    assert!(read == pattern(0, total));
    writing.await.unwrap();
}

pub(crate) async fn writing_at_once_is_all_or_would_block(place: Place) {
    let (near, far) = place.streams().await;
    let count = match near.try_write(&[IoSlice::new(b"one"), IoSlice::new(b"two")]) {
        Ok(count) => count,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            poll_fn(|cx| near.poll_write(cx, &[IoSlice::new(b"onetwo")]))
                .await
                .unwrap()
        }
    };
    assert!(count > 0);
    assert_eq!(read_exact(&*far, count).await, b"onetwo"[..count]);
}

pub(crate) async fn a_slice_is_filled_and_no_more(place: Place) {
    const LEN: usize = 300_000;
    let (near, far) = place.streams().await;
    let writing = async {
        for piece in pattern(0, LEN).chunks(7777) {
            write_all(&*near, piece).await.unwrap();
        }
        poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
    };
    let reading = async {
        let mut all = Vec::new();
        for room in [1, 2, 1000, 100_000].into_iter().cycle() {
            let mut target = vec![0xee; room + 1];
            let count = poll_fn(|cx| far.poll_read_into(cx, &mut target[..room]))
                .await
                .unwrap();
            assert!(count <= room && target[room] == 0xee);
            all.extend_from_slice(&target[..count]);
            if count == 0 {
                return all;
            }
        }
        all
    };
    let ((), read) = tokio::join!(writing, reading);
    assert!(read == pattern(0, LEN));
}

pub(crate) async fn looking_past_the_runtime_disturbs_nobody(place: Place) {
    const LEN: usize = 2_000_000;
    let (near, far) = place.streams().await;
    let all = pattern(0, LEN);
    let writing = async {
        let mut data = &all[..];
        while !data.is_empty() {
            let slices = [IoSlice::new(data), IoSlice::new(&[])];
            let count = match near.write_now(&slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|cx| near.poll_write(cx, &slices)).await.unwrap()
                }
                result => result.unwrap(),
            };
            data = &data[count..];
        }
        near.write_now(&[IoSlice::new(b"!")])
            .map_or_else(|error| assert_eq!(error.kind(), io::ErrorKind::WouldBlock), drop);
    };
    let reading = async {
        let mut read = vec![0; LEN];
        let mut count = 0;
        while count < LEN {
            let target = &mut read[count..];
            count += match far.read_now(target) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|cx| far.poll_read_into(cx, target)).await.unwrap()
                }
                result => result.unwrap(),
            };
        }
        read
    };
    let ((), read) = tokio::join!(writing, reading);
    assert!(read == all);
}

pub(crate) async fn many_connections_do_not_mix(place: Place) {
    let mut listener = place.bind().await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..40_usize {
        let (near, far) = place.pair_at(&mut *listener).await;
        let (near, far) = (stream(near), stream(far));
        tasks.spawn(async move { write_all(&*near, &pattern(i, 50_000)).await.unwrap() });
        tasks.spawn(async move { assert!(read_exact(&*far, 50_000).await == pattern(i, 50_000)) });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}

pub(crate) async fn no_wake_up_is_lost(place: Place) {
    const ROUNDS: usize = 3000;
    let (near, far) = place.streams().await;
    // Both ends mostly wait for the other, and read with more room than there are bytes.
    let answering = tokio::spawn(async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(4096);
            if read_some(&*far, &mut buffer).await.unwrap() == 0 {
                return;
            }
            write_all(&*far, &buffer.split()).await.unwrap();
        }
    });
    let asking = tokio::spawn(async move {
        let mut buffer = BytesMut::new();
        for round in 0..ROUNDS {
            let question = pattern(round, 1 + round % 300);
            write_all(&*near, &question).await.unwrap();
            while buffer.len() < question.len() {
                buffer.reserve(4096);
                assert_ne!(read_some(&*near, &mut buffer).await.unwrap(), 0);
            }
            assert!(buffer.split() == question);
        }
    });
    asking.await.unwrap();
    answering.await.unwrap();
}
