//! What holds a session, or is in it and looks for it again whenever it ends.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use flexbond_session::group::{Coordinator, Event, Member, Options, Over, Session};
use flexbond_transport::Endpoint;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::audience::Audience;
use super::outlet::Outlet;

/// Where sessions go that this end is in.
#[derive(Debug)]
pub(super) enum Use {
    /// To be received from.
    Receiving(mpsc::Sender<Session>),
    /// To be sent to. What others send there is for others.
    Sending(Arc<Outlet>),
}

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
        let linger = until_left(
            &mut self.leave,
            self.linger,
            attend(&session, &self.audience, &self.of, true),
        )
        .await;
        let undelivered = self.settle(&session, linger.flatten()).await;
        coordinator.close().await;
        self.audience.close();
        undelivered
    }

    /// Joins a session whenever it is there, until it is to be left; returns how many messages were not delivered then.
    pub(super) async fn join(mut self, endpoint: Endpoint, options: Options) -> u64 {
        let mut undelivered = 0;
        for client in 0.. {
            let audience = Arc::clone(&self.audience);
            let joining = async {
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
            self.hand_over(session.clone()).await;
            self.audience.join(client);
            let left = until_left(
                &mut self.leave,
                self.linger,
                attend(&session, &self.audience, &self.of, false),
            )
            .await;
            self.audience.leave(client);
            if let Some(linger) = left {
                undelivered = self.settle(&session, linger).await;
                member.leave().await;
                break;
            }
            if let Use::Sending(outlet) = &self.of {
                outlet.set_session(None);
            }
        }
        self.audience.close();
        undelivered
    }

    async fn hand_over(&self, session: Session) {
        match &self.of {
            Use::Receiving(sessions) => {
                // Whoever would receive may be gone.
                let _ = sessions.send(session).await;
            }
            Use::Sending(outlet) => outlet.set_session(Some(session)),
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
        let cut = outlet.close();
        session.undelivered().max(cut)
    }
}

/// Waits for the order to leave, unless the session is over before. Who is dropped does not say how long.
async fn until_left(
    leave: &mut oneshot::Receiver<Option<Duration>>,
    linger: Option<Duration>,
    over: impl Future<Output = ()>,
) -> Option<Option<Duration>> {
    tokio::select! {
        biased;
        order = leave => Some(order.unwrap_or(linger)),
        () = over => None,
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

/// Watches a session until it is over. Who holds it hears of its members.
async fn attend(session: &Session, audience: &Audience, of: &Use, holds: bool) {
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
            Ok(Some(Event::Joined { member, .. })) if holds => audience.join(member.number().into()),
            Ok(Some(Event::Gone { member, .. })) if holds => audience.leave(member.number().into()),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
