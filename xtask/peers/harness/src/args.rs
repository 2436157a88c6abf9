//! The command line: a role, then `key=value` words.

use std::time::Duration;

use crate::Result;

/// What the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Tell how the case can be run.
    List,
    /// The side that listens.
    Bind,
    /// The side that connects.
    Connect,
    /// Both, in this process.
    Inproc,
}

/// Which traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// One way, from one or several PUSH to one PULL.
    PushPull,
    /// Round trips, one at a time.
    ReqRep,
    /// One PUB to several SUB.
    PubSub,
    /// Round trips, many at a time.
    DealerRouter,
    /// Many connections that carry little.
    Idle,
    /// A new socket connects and gets a first reply, again and again.
    Connect,
    /// A PUSH whose PULL is gone and comes back.
    Reconnect,
}

/// How the two sides reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP over the loopback interface.
    Tcp,
    /// Unix domain sockets.
    Ipc,
    /// One process.
    Inproc,
}

/// The whole command line.
#[derive(Clone, Debug)]
pub struct Args {
    /// What the program does.
    pub role: Role,
    /// Which traffic.
    pub case: Case,
    /// How the sides reach each other.
    pub transport: Transport,
    /// Where to bind, or to connect to.
    pub endpoint: String,
    /// Bytes of each part.
    pub size: usize,
    /// Parts of each message.
    pub parts: usize,
    /// Sockets on the connecting side.
    pub peers: usize,
    /// Topics that a publisher uses in turn; 1: everything matches.
    pub topics: usize,
    /// Round trips that are under way at once.
    pub in_flight: usize,
    /// High-water mark of both sides, in messages.
    pub hwm: usize,
    /// Messages a second that a source sends at most; 0: as many as it can.
    pub rate: u64,
    /// Threads of an inproc case: 1 or 2.
    pub threads: usize,
    /// How long traffic runs before it is measured.
    pub warmup: Duration,
    /// How long it is measured.
    pub window: Duration,
    /// The contender's setting, by name.
    pub setting: String,
}

impl Args {
    /// Reads the program's command line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read() -> Result<Args> {
        Self::parse(std::env::args().skip(1))
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<Args> {
        let role = match words.next().as_deref() {
            Some("list") => Role::List,
            Some("bind") => Role::Bind,
            Some("connect") => Role::Connect,
            Some("inproc") => Role::Inproc,
            other => return Err(format!("unknown role {other:?}").into()),
        };
        let mut args = Args {
            role,
            case: Case::PushPull,
            transport: Transport::Tcp,
            endpoint: String::new(),
            size: 128,
            parts: 1,
            peers: 1,
            topics: 1,
            in_flight: 1,
            hwm: 1000,
            rate: 0,
            threads: 2,
            warmup: Duration::from_millis(150),
            window: Duration::from_millis(500),
            setting: String::new(),
        };
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("`{word}` is not key=value"))?;
            match key {
                "case" => args.case = Case::parse(value)?,
                "transport" => {
                    args.transport = match value {
                        "tcp" => Transport::Tcp,
                        "ipc" => Transport::Ipc,
                        "inproc" => Transport::Inproc,
                        other => return Err(format!("unknown transport `{other}`").into()),
                    }
                }
                "endpoint" => args.endpoint = value.to_owned(),
                "size" => args.size = value.parse()?,
                "parts" => args.parts = value.parse()?,
                "peers" => args.peers = value.parse()?,
                "topics" => args.topics = value.parse()?,
                "in_flight" => args.in_flight = value.parse()?,
                "hwm" => args.hwm = value.parse()?,
                "rate" => args.rate = value.parse()?,
                "threads" => args.threads = value.parse()?,
                "warmup_ms" => args.warmup = Duration::from_millis(value.parse()?),
                "window_ms" => args.window = Duration::from_millis(value.parse()?),
                "setting" => args.setting = value.to_owned(),
                other => return Err(format!("unknown key `{other}`").into()),
            }
        }
        Ok(args)
    }

    /// The topic of number `index`: four bytes, so that none is a prefix of another.
    #[must_use]
    pub fn topic(index: usize) -> String {
        format!("t{:03}", index % 1000)
    }

    /// What a subscriber asks for: everything, or one topic of many.
    #[must_use]
    pub fn subscription(&self) -> String {
        if self.topics > 1 {
            Self::topic(self.topics / 2)
        } else {
            String::new()
        }
    }
}

impl Case {
    fn parse(name: &str) -> Result<Case> {
        Ok(match name {
            "push-pull" => Case::PushPull,
            "req-rep" => Case::ReqRep,
            "pub-sub" => Case::PubSub,
            "dealer-router" => Case::DealerRouter,
            "idle" => Case::Idle,
            "connect" => Case::Connect,
            "reconnect" => Case::Reconnect,
            other => return Err(format!("unknown case `{other}`").into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let words = [
            "bind",
            "case=pub-sub",
            "transport=ipc",
            "topics=100",
            "window_ms=20",
        ];
        let args = Args::parse(words.into_iter().map(str::to_owned)).unwrap();
        assert_eq!(
            (args.role, args.case, args.transport),
            (Role::Bind, Case::PubSub, Transport::Ipc)
        );
        assert_eq!(args.subscription(), "t050");
        assert!(Args::parse(["bind".to_owned(), "x=1".to_owned()].into_iter()).is_err());
    }
}
