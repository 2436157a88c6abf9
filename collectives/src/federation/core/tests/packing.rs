//! Items go together, and acknowledgements with them.

use super::super::link::{Link, MAX_ITEMS};
use super::super::packet::{Content, Header, Item, Packet};
use super::stage::{Stage, data, hello};
use super::*;

fn counts(packets: &[Packet]) -> Vec<usize> {
    let counts = packets.iter().map(|packet| match &packet.header.content {
        Content::Items { items, .. } => items.len(),
        _ => 0,
    });
    counts.collect()
}

fn open_stage() -> Stage {
    let mut stage = Stage::new(hello());
    stage.says();
    assert!(stage.opens(0, "x"));
    stage.says();
    stage
}

#[test]
fn a_packet_takes_what_is_ready() {
    let mut net = Net::new(2, 1, &limits());
    net.send(0, 1, "x", letter("first")).unwrap();
    net.run(Duration::from_secs(1));
    for i in 0..150 {
        net.send(0, 1, "x", letter(i)).unwrap();
    }
    let packets: Vec<_> = std::iter::from_fn(|| net.nodes[0].poll_transmit(net.now, 0))
        .map(|packet| Packet::decode(packet).unwrap())
        .collect();
    assert_eq!(counts(&packets), [64, 64, 22]);
    for packet in packets {
        net.nodes[1].handle_packet(net.now, packet.encode());
    }
    let got: Vec<_> = std::iter::from_fn(|| net.take(1, 0, "x", None))
        .map(|taken| text(&taken).unwrap())
        .collect();
    assert_eq!(got.len(), 151);
    assert!(
        got[1..]
            .iter()
            .eq((0..150).map(|i| i.to_string()).collect::<Vec<_>>().iter())
    );
    // The ends of all of them go back together, and their acknowledgement with them.
    let packets: Vec<_> = std::iter::from_fn(|| net.nodes[1].poll_transmit(net.now, 0))
        .map(|packet| Packet::decode(packet).unwrap())
        .collect();
    assert_eq!(counts(&packets), [64, 64, 23]);
    assert_eq!(
        packets[0].header.ack,
        net.nodes[0].peers()[0].link.acknowledged() + 150
    );
}

#[test]
fn a_packet_is_not_too_large() {
    let limits = limits();
    let now = Instant::now();
    let mut link = Link::new(1, &limits, now);
    let mut header = Header {
        job: JobId::new("job").unwrap(),
        from: party(1),
        to: party(0),
        mine: 2,
        yours: 1,
        ack: 0,
        content: Content::Hello(hello()),
    };
    link.handle(now, &header, 0, Ok(()));
    assert!(link.is_up());
    for _ in 0..6 {
        link.push(Item::Data(data(0, vec![1])), vec![Bytes::from(vec![0; 100_000])]);
    }
    for _ in 0..3 {
        let held = vec![0; 20_000];
        link.push(
            Item::Opened {
                flow: 0,
                epoch: 1,
                next: 1,
                held,
            },
            Vec::new(),
        );
    }
    for _ in 0..3 {
        link.push(
            Item::Data(data(0, vec![1; 600])),
            vec![Bytes::from_static(b"x"); 600],
        );
    }
    let mut counts = Vec::new();
    while let Some(said) = link.poll_transmit(now, hello) {
        if let Content::Items { items, .. } = said.content() {
            counts.push((items.len(), said.pieces().len()));
        }
    }
    assert_eq!(
        counts,
        [(2, 2), (2, 2), (3, 2), (1, 0), (2, 600), (1, 600), (1, 600)]
    );
    assert_eq!(link.acknowledged(), 0);
    header.ack = 7;
    header.content = Content::Ack { gap: false };
    link.handle(now, &header, 0, Ok(()));
    assert_eq!(link.acknowledged(), 7);
    assert_eq!(link.push(Item::Ready, Vec::new()), 12);
}

#[test]
fn an_acknowledgement_waits_for_something_to_go_with() {
    let mut stage = open_stage();
    assert!(stage.brings(0, "content"));
    assert_eq!(stage.says(), []);
    assert!(stage.node.poll_timeout() <= Some(stage.now + Duration::from_millis(20)));
    stage.wait(10);
    assert_eq!(stage.says(), []);
    stage.wait(10);
    let packets = stage.says();
    assert_eq!((counts(&packets), packets[0].header.ack), (vec![0], 2));
    // It goes with the end of a message.
    assert!(stage.brings(1, "more"));
    stage.receives("x").unwrap();
    let packets = stage.says();
    assert_eq!((counts(&packets), packets[0].header.ack), (vec![1], 3));
    stage.wait(50);
    assert!(stage.says().is_empty(), "it was said");
}

#[test]
fn an_acknowledgement_that_is_waited_for_goes_at_once() {
    let mut stage = open_stage();
    // Half of the window.
    for _ in 0..MAX_ITEMS / 2 - 1 {
        assert!(stage.takes(Item::Ready, Vec::new()));
        assert_eq!(stage.says(), []);
    }
    assert!(stage.takes(Item::Ready, Vec::new()));
    assert_eq!(counts(&stage.says()), [0]);
    let large = Item::Data(data(0, vec![9 << 20]));
    assert!(stage.takes(large, vec![Bytes::from(vec![0; 8 << 20])]));
    assert_eq!(counts(&stage.says()), [0]);
    // One is missing.
    let seq = stage.node.peers()[0].link.ack() + 1;
    let items = vec![Item::Ready];
    stage.hear(Content::Items { seq, items });
    assert_eq!(stage.says()[0].header.content, Content::Ack { gap: true });
    assert!(stage.takes(Item::Leave, Vec::new()));
    let packets = stage.says();
    assert_eq!(packets.len(), 1, "who leaves waits for it");
}

#[test]
fn what_is_taken_may_be_confirmed_later() {
    let now = Instant::now();
    let mut link = Link::new(1, &limits(), now);
    let packet = |seq, content: Option<Vec<Item>>| Header {
        job: JobId::new("job").unwrap(),
        from: party(1),
        to: party(0),
        mine: 2,
        yours: 1,
        ack: 0,
        content: content.map_or_else(|| Content::Hello(hello()), |items| Content::Items { seq, items }),
    };
    link.handle(now, &packet(0, None), 0, Ok(()));
    while link.poll_transmit(now, hello).is_some() {}
    let items = || Some(vec![Item::Ready; 3]);
    assert_eq!(link.handle(now, &packet(0, items()), 0, Ok(())).1, Some(0));
    for _ in 0..3 {
        link.take_unconfirmed();
    }
    assert_eq!((link.expected(), link.ack()), (3, 0));
    assert!(link.poll_transmit(now, hello).is_none());
    // They come again, two more with them.
    let more = Some(vec![Item::Ready; 5]);
    assert_eq!(link.handle(now, &packet(0, more), 0, Ok(())).1, Some(3));
    link.take_unconfirmed();
    link.confirm(2);
    assert_eq!(link.ack(), 2);
    link.confirm(1);
    link.confirm(100);
    assert_eq!(link.ack(), 4, "what has come, no more");
    link.hurry();
    let said = link.poll_transmit(now, hello).unwrap();
    assert_eq!(said.content(), Content::Ack { gap: false });
    assert!(link.poll_transmit(now, hello).is_none());
    // Who ends says at once what has come, and what comes then.
    let one = |seq| Header {
        content: Content::Items {
            seq,
            items: vec![Item::Ready],
        },
        ..packet(0, None)
    };
    for (number, ends) in [(4, true), (5, false)] {
        assert_eq!(link.handle(now, &one(number), 0, Ok(())).1, Some(0));
        link.take();
        assert!(ends == link.poll_transmit(now, hello).is_none());
        if ends {
            link.prompt();
            assert_eq!(link.poll_transmit(now, hello).unwrap().ack, 5);
        }
    }
    assert!(link.poll_transmit(now, hello).is_none());
}
