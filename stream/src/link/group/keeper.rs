//! What holds a session, or is in it and looks for it again whenever it ends.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use flexbond_session::group::{Coordinator, Event, Gone, Member, Options, Over, Session};
use flexbond_transport::Endpoint;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::audience::Audience;
use super::outlet::Outlet;

/// Where sessions go that this end is in.
#[derive(Debug)]
pub(super) enum Use {
    /// To be received from; each is let go once all of it was.
    Receiving(mpsc::Sender<(Session, Unread)>),
    /// To be sent to. What others send there is for others.
    Sending(Arc<Outlet>),
}

/// Held as long as there may be something in a session that was not received yet.
pub(super) type Unread = oneshot::Sender<()>;

/// What the ends of streams call themselves: who holds the session counts those that are at the other end.
pub(super) const SENDER: &str = "stream pub";
pub(super) const RECEIVER: &str = "stream sub";

/// Holds a session, or is in it and looks for it again whenever it ends.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) audience: Arc<Audience>,
    pub(super) of: Use,
    /// How long to wait for what was sent to be delivered, when nobody says otherwise.
    pub(super) linger: Option<Duration>,
    /// Says when to leave, and how long to wait then.
    pub(super) leave: oneshot::Receiver<Option<Duration>>,
}

/// The first pause after an attempt in vain, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Keeper {
    /// Holds a session until it is to be left; returns how many messages were not delivered then.
    pub(super) async fn hold(mut self, coordinator: Coordinator) -> u64 {
        let session = coordinator.session().clone();
        self.hand_over(session.clone()).await;
        let attending = attend(&session, &self.audience, &self.of, true);
        let left = until_left(&mut self.leave, self.linger, attending).await;
        // Of a session that is over nothing is waited for.
        let undelivered = self.settle(&session, left.unwrap_or_default()).await;
        coordinator.close().await;
        self.audience.close();
        undelivered
    }

    /// Joins a session whenever it is there, until it is to be left; returns how many messages were not delivered then.
    pub(super) async fn join(mut self, endpoint: Endpoint, options: Options) -> u64 {
        let mut undelivered = 0;
        // What is read before this end may come back.
        let mut backlog = None;
        for client in 0.. {
            let audience = Arc::clone(&self.audience);
            let joining = async {
                if let Some(read) = backlog.take() {
                    // An error says that it was.
                    let _: Result<(), _> = read.await;
                }
                if let Use::Receiving(sessions) = &self.of {
                    // Not before the last one is read: so there are two at most of which something waits to be taken.
                    let _ = sessions.reserve().await;
                }
                look_for(&endpoint, &options, &audience).await
            };
            let member = tokio::select! {
                biased;
                _ = &mut self.leave => break,
                member = joining => member,
            };
            if client > 0 {
                self.audience.note_return();
            }
            let session = member.session().clone();
            let read = self.hand_over(session.clone()).await;
            self.audience.join(client);
            let attending = attend(&session, &self.audience, &self.of, false);
            let left = until_left(&mut self.leave, self.linger, attending).await;
            self.audience.leave(client);
            match left {
                Ok(linger) => {
                    undelivered = self.settle(&session, linger).await;
                    member.leave().await;
                    break;
                }
                // It would only hold up all others again, and be sent away again.
                Err(Over::Dismissed { why: Gone::Evicted }) => backlog = read,
                Err(_) => {}
            }
            if let Use::Sending(outlet) = &self.of {
                outlet.set_session(None);
            }
        }
        self.audience.close();
        undelivered
    }

    /// Returns what ends once all of the session was received.
    async fn hand_over(&self, session: Session) -> Option<oneshot::Receiver<()>> {
        match &self.of {
            Use::Receiving(sessions) => {
                let (unread, read) = oneshot::channel();
                // Whoever would receive may be gone.
                let _ = sessions.send((session, unread)).await;
                Some(read)
            }
            Use::Sending(outlet) => {
                outlet.set_session(Some(session));
                None
            }
        }
    }

    /// Waits until what was sent is delivered; returns how many messages were not.
    async fn settle(&self, session: &Session, linger: Option<Duration>) -> u64 {
        let Use::Sending(outlet) = &self.of else {
            return 0;
        };
        outlet.refuse();
        let settled = async {
            outlet.idle().await;
            session.settled().await;
        };
        match linger {
            Some(linger) => {
                let _ = timeout(linger, settled).await;
            }
            None => settled.await,
        }
        outlet.close(session)
    }
}

/// Waits for the order to leave, unless the session is over before. Who is dropped does not say how long.
async fn until_left(
    leave: &mut oneshot::Receiver<Option<Duration>>,
    linger: Option<Duration>,
    over: impl Future<Output = Over>,
) -> Result<Option<Duration>, Over> {
    tokio::select! {
        biased;
        order = leave => Ok(order.unwrap_or(linger)),
        over = over => Err(over),
    }
}

/// Joins a session, as soon as there is one.
async fn look_for(endpoint: &Endpoint, options: &Options, audience: &Audience) -> Member {
    let mut pause = FIRST_PAUSE;
    loop {
        match Member::join(endpoint.clone(), options.clone()).await {
            Ok(member) => {
                audience.set_refusal(None);
                return member;
            }
            Err(error) => audience.set_refusal(Some(error)),
        }
        // Not all at once who lost the same session.
        sleep(pause.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Watches a session until it is over. Who holds it hears of its members, and counts those that are at the other end.
async fn attend(session: &Session, audience: &Audience, of: &Use, holds: bool) -> Over {
    let alike = match of {
        Use::Receiving(_) => RECEIVER,
        Use::Sending(_) => SENDER,
    };
    loop {
        let event = async {
            match of {
                Use::Receiving(_) => session.event().await.map(Some),
                Use::Sending(_) => tokio::select! {
                    event = session.event() => event.map(Some),
                    // It would otherwise fill the memory, and keep its sender from sending more.
                    received = session.recv() => received.map(|_| None).map_err(|_| Over::Left),
                },
            }
        };
        match event.await {
            Ok(Some(Event::Joined { member, name, .. })) if holds && name != alike => {
                audience.join(member.number().into());
            }
            Ok(Some(Event::Gone { member, .. })) if holds => audience.leave(member.number().into()),
            Ok(_) => {}
            Err(over) => return over,
        }
    }
}
