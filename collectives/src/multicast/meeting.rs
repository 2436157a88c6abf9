//! How the ranks of an epoch find out whether multicast reaches all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use flexbond_session::group::{Coordinator, Event, Member, MemberId, Options, Over, Session};
use flexbond_session::mesh::{Mesh, MeshError};
use flexbond_transport::Endpoint;
use futures_util::future::try_join;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::lane::{Lane, Seat};
use super::notice::{Subject, tag};
use super::options::MulticastOptions;

/// How long nothing may be heard of a rank in the session. Whether it lives is not the session's to say; this is for one
/// that computes for long, and then is served through the mesh.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a sign of life is due: by these members find out that multicast reaches them.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Memory of each rank for what it has not taken from the session yet, and for what it sends, in bytes.
const BUDGET: u64 = 16 << 20;
/// How long the session goes on for what was sent, once nobody wants it here any more.
const LINGER: Duration = Duration::from_secs(1);

/// What the ranks say to each other; those from rank 0 and those to it alternate.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// From rank 0: where the session is, and what nobody else knows.
    Come { endpoint: String, secret: u128 },
    /// To rank 0: this is my number in the session.
    Here(u32),
    /// From rank 0: the numbers of all, by rank.
    All(Vec<u32>),
    /// To rank 0: I know them, and they hear me.
    Known,
    /// From rank 0: everybody does.
    Go,
    /// It does not work.
    No(String),
}

/// Meets the other ranks of the mesh's epoch. `server` is where the mesh's is.
///
/// # Errors
/// Why there is no multicast in this epoch; all ranks of it that go on say so.
pub(super) async fn meet(
    mesh: Arc<Mesh>,
    options: &MulticastOptions,
    server: &Endpoint,
) -> Result<Lane, String> {
    let meeting = Meeting {
        epoch: mesh.epoch(),
        rank: mesh.rank(),
        size: mesh.size(),
        local: match options.interface {
            Some(address) => address,
            None => local_address(server, options.group).await,
        },
        mesh,
        options,
    };
    match meeting.rank {
        0 => meeting.host().await,
        _ => meeting.attend().await,
    }
}

struct Meeting<'a> {
    mesh: Arc<Mesh>,
    options: &'a MulticastOptions,
    epoch: u32,
    rank: usize,
    size: usize,
    /// An address of this machine in the network that multicast is to go through.
    local: IpAddr,
}

impl Meeting<'_> {
    async fn host(self) -> Result<Lane, String> {
        let endpoint = format!("udp://{}", SocketAddr::new(self.local, 0));
        let met = match Coordinator::bind(endpoint, self.group_options()).await {
            Ok(coordinator) => {
                let coordinator = Arc::new(coordinator);
                let met = timeout(self.options.patience, self.gather(&coordinator)).await;
                let late = |_| Err(format!("not all were in within {:?}", self.options.patience));
                met.unwrap_or_else(late).map(|numbers| (coordinator, numbers))
            }
            Err(error) => Err(format!("rank 0: {}", chain(&error))),
        };
        let word = match &met {
            Ok(_) => Word::Go,
            Err(reason) => Word::No(reason.clone()),
        };
        self.tell_all(&word).await;
        met.map(|(coordinator, numbers)| self.lane(Seat::Coordinator(coordinator), &numbers))
    }

    /// The others' numbers in the session, by rank, once all are in and hear each other.
    async fn gather(&self, coordinator: &Coordinator) -> Result<Vec<u32>, String> {
        let secret = fastrand::u128(..);
        let endpoint = coordinator.endpoint().to_string();
        self.tell_all(&Word::Come { endpoint, secret }).await;
        let (numbers, said) = try_join(self.admit(coordinator, secret), self.answers()).await?;
        if numbers != said {
            return Err("a rank is not who it says".to_owned());
        }
        self.tell_all(&Word::All(numbers.clone())).await;
        coordinator
            .wait_for_multicast(self.size - 1)
            .await
            .map_err(|error| error.to_string())?;
        for rank in 1..self.size {
            match self.hear(rank).await? {
                Word::Known => {}
                word => return Err(refused(rank, word)),
            }
        }
        Ok(numbers)
    }

    /// Admits the ranks, and sends others away.
    async fn admit(&self, coordinator: &Coordinator, secret: u128) -> Result<Vec<u32>, String> {
        let mut numbers = vec![MemberId::COORDINATOR.number(); self.size];
        let mut missing = self.size - 1;
        while missing > 0 {
            let event = coordinator.event().await.map_err(|error| error.to_string())?;
            let Event::Joined { member, name, .. } = event else {
                continue;
            };
            match (1..self.size).find(|rank| name == name_of(secret, *rank)) {
                Some(rank) if numbers[rank] == 0 => {
                    numbers[rank] = member.number();
                    missing -= 1;
                }
                _ => {
                    coordinator.evict(member);
                }
            }
        }
        Ok(numbers)
    }

    /// What number everybody says to have, by rank; an error as soon as somebody does not come.
    async fn answers(&self) -> Result<Vec<u32>, String> {
        let mut numbers = vec![MemberId::COORDINATOR.number(); self.size];
        for (rank, number) in numbers.iter_mut().enumerate().skip(1) {
            match self.hear(rank).await? {
                Word::Here(said) => *number = said,
                word => return Err(refused(rank, word)),
            }
        }
        Ok(numbers)
    }

    async fn attend(self) -> Result<Lane, String> {
        // Rank 0 waits for `patience` itself, and may begin a little later.
        let invited = timeout(2 * self.options.patience, self.hear(0)).await;
        let invitation = invited.map_err(|_| "rank 0 does not multicast".to_owned())??;
        let Word::Come { endpoint, secret } = invitation else {
            return Err(reason_of(invitation));
        };
        let name = name_of(secret, self.rank);
        let joined = Member::join(endpoint, self.group_options().name(name)).await;
        let member = match joined {
            Ok(member) => member,
            Err(error) => return self.refuse(chain(&error)).await,
        };
        match member.id() {
            Ok(id) => self.tell(0, &Word::Here(id.number())).await?,
            Err(error) => return self.refuse(error.to_string()).await,
        }
        // What rank 0 says it says within its patience, unless it dies, which the mesh finds out.
        let numbers = match self.hear(0).await? {
            Word::All(numbers) => numbers,
            word => return Err(reason_of(word)),
        };
        let acquainted = timeout(self.options.patience, self.acquaint(&member, &numbers)).await;
        match acquainted {
            Ok(Ok(())) => self.tell(0, &Word::Known).await?,
            Ok(Err(over)) => return self.refuse(over.to_string()).await,
            Err(_) => {
                return self
                    .refuse("multicast does not reach all others".to_owned())
                    .await;
            }
        }
        match self.hear(0).await? {
            Word::Go => Ok(self.lane(Seat::Member(member), &numbers)),
            word => Err(reason_of(word)),
        }
    }

    /// Waits until this member knows all others, and they hear what it multicasts.
    async fn acquaint(&self, session: &Session, numbers: &[u32]) -> Result<(), Over> {
        let me = session.id()?.number();
        let is_known = |number: &u32| {
            let mut members = session.members().into_iter();
            *number == me || members.any(|member| member.number() == *number)
        };
        while !numbers.iter().all(is_known) {
            session.event().await?;
        }
        // The coordinator is not counted.
        session.wait_for_multicast(self.size - 2).await
    }

    async fn refuse<T>(&self, reason: String) -> Result<T, String> {
        self.tell(0, &Word::No(reason.clone())).await?;
        Err(reason)
    }

    fn lane(self, seat: Seat, numbers: &[u32]) -> Lane {
        let ranks: HashMap<u32, usize> = numbers
            .iter()
            .enumerate()
            .map(|(rank, number)| (*number, rank))
            .collect();
        Lane::new(self.mesh, self.epoch, seat, ranks)
    }

    fn group_options(&self) -> Options {
        Options::new()
            .multicast(self.options.group)
            .interface(self.local)
            .multicast_ttl(self.options.ttl)
            .heartbeat(HEARTBEAT)
            .dead_after(SILENCE)
            .join_timeout(self.options.patience)
            .recv_budget(BUDGET)
            .send_budget(BUDGET)
            .linger(LINGER)
    }

    async fn tell_all(&self, word: &Word) {
        for rank in 1..self.size {
            // Who has left needs it no more, and a death ends the epoch.
            let _ = self.tell(rank, word).await;
        }
    }

    async fn tell(&self, rank: usize, word: &Word) -> Result<(), String> {
        let body = postcard::to_allocvec(word).map_err(|error| error.to_string())?;
        let sending = self.mesh.send(rank, tag(Subject::Meeting, 0), &body);
        self.within(rank, sending).await
    }

    async fn hear(&self, rank: usize) -> Result<Word, String> {
        let receiving = self.mesh.recv_bytes(rank, tag(Subject::Meeting, 0));
        let body = self.within(rank, receiving).await?;
        postcard::from_bytes(&body).map_err(|error| format!("what rank {rank} says makes no sense: {error}"))
    }

    async fn within<T>(
        &self,
        rank: usize,
        step: impl Future<Output = Result<T, MeshError>>,
    ) -> Result<T, String> {
        if self.mesh.epoch() != self.epoch {
            return Err("the epoch is over".to_owned());
        }
        step.await.map_err(|error| format!("rank {rank}: {error}"))
    }
}

/// What a rank is called in the session.
fn name_of(secret: u128, rank: usize) -> String {
    format!("{secret:032x}.{rank}")
}

fn refused(rank: usize, word: Word) -> String {
    format!("rank {rank}: {}", reason_of(word))
}

fn reason_of(word: Word) -> String {
    match word {
        Word::No(reason) => reason,
        _ => "it says what it should not say now".to_owned(),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// An address of this machine, of the group's family, by which it reaches the server of the mesh.
async fn local_address(server: &Endpoint, group: SocketAddr) -> IpAddr {
    let (any, loopback): (IpAddr, IpAddr) = match group {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    };
    let Endpoint::Tcp(address) = server else {
        return loopback;
    };
    let peers = address.peer_addrs(true).await.unwrap_or_default();
    let toward = |peer: SocketAddr| {
        // Connecting sends nothing; the system picks the way.
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(peer).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let mut peers = peers.into_iter().filter(|peer| peer.is_ipv4() == group.is_ipv4());
    peers.find_map(toward).unwrap_or(loopback)
}
