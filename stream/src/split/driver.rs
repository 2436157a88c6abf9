//! Moves messages from a source to outputs by the decisions of a [`Splitter`].

mod closing;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;

use flexbond_session::socket::{RecvError, SendErrorKind, Stats};
use flexbond_transport::{Endpoint, Message};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::output::{Left, Output};
use super::watch::Watch;
use super::{ConfigError, OutletId, OutputConfig, OutputStats, SplitConfig, Splitter};
use crate::alarm::{Alarm, now};
use crate::link::Fault;
use crate::stream::ConnectError;
use crate::{ConnectOptions, Statistics, Stream, StreamMessage};

/// A source and its outputs.
///
/// Dropping it drops what waits in here; [`close`](Self::close) and [`finish`](Self::finish) send it.
///
/// Nothing moves but in [`run`](Self::run), which may be dropped and called again at any time: to look at
/// [`stats`](Self::stats), or to [`reload`](Self::reload) the configuration.
///
/// See the [module](super) for an example.
#[derive(Debug)]
pub struct Split {
    config: SplitConfig,
    /// What it does not say.
    base: ConnectOptions,
    source: Stream,
    /// Messages that were received and are not handled yet.
    received: VecDeque<Message>,
    /// Where the source puts them; empty but while it does.
    batch: Vec<Message>,
    splitter: Splitter<Message>,
    count_headers: bool,
    outputs: Vec<Output>,
    /// What the splitter goes by.
    watch: Watch,
    /// Since when nothing more is taken from the source.
    closing: Option<tokio::time::Instant>,
    /// Whether nothing that leaves waits any more.
    hurry: watch::Sender<bool>,
    /// Outputs that are no more, sending what waited for them.
    leaving: Vec<JoinHandle<Left>>,
    /// Those that there were at the end.
    closed: Vec<closing::Closed>,
    /// Addresses of those of them that may not have given it up yet, and what ends when they have.
    unbinding: Vec<(Endpoint, JoinHandle<()>)>,
    undelivered: u64,
    alarm: Alarm,
}

/// What a new configuration has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Addresses that are new.
    pub added: Vec<String>,
    /// Addresses that are no more. What waits for them is still sent, for as long as their linger says.
    pub removed: Vec<String>,
    /// Addresses that go on with new rules.
    pub changed: Vec<String>,
    /// Addresses that were closed and opened again, because their mode or multicast address is another one. What waited
    /// there was sent to the former receivers.
    pub replaced: Vec<String>,
    /// Whether the source is another one.
    pub source: bool,
}

/// Why a split was not begun, not changed, or does not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SplitError {
    /// The configuration cannot be used. Nothing changed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be joined. Nothing changed.
    #[error("{address} cannot be joined")]
    Connect {
        /// The address.
        address: String,
        /// Why.
        #[source]
        error: ConnectError,
    },
    /// The source gives no more messages. Running again is of no use.
    #[error("the source gives no more messages")]
    Receive(#[from] RecvError),
    /// An output refused a message, which is lost for it, and for it only. Running again goes on with the next.
    #[error("{address}: {kind}")]
    Send {
        /// The address of the output.
        address: String,
        /// Why.
        kind: SendErrorKind,
    },
}

/// Messages that are taken from the source at once.
const BATCH: usize = 64;
/// The most messages that are taken over from a source that is given up.
const MAX_TAKEN: usize = 100_000;
/// Messages after which other tasks have their turn.
const BUDGET: usize = 256;

impl Split {
    /// Joins the source and opens all outputs.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// [`SplitError::Config`] and [`SplitError::Connect`]; nothing is left behind.
    pub async fn connect(config: SplitConfig) -> Result<Self, SplitError> {
        Self::connect_with(config, ConnectOptions::new()).await
    }

    /// As [`connect`](Self::connect), with options for what the configuration does not say: a key, say, which is in no
    /// file. They count after every [`reload`](Self::reload), too.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// As those of [`connect`](Self::connect).
    pub async fn connect_with(config: SplitConfig, base: ConnectOptions) -> Result<Self, SplitError> {
        config.validate()?;
        let mut streams = Vec::with_capacity(config.streams.len());
        for output in &config.streams {
            streams.push(Output::open(output, &base).await?);
        }
        // The source last: what it receives can be sent.
        let source = join(&config, &base).await?;
        let splitter = Splitter::new(config.streams.iter().map(OutputConfig::rule));
        let outputs = splitter
            .outlets()
            .zip(streams)
            .zip(&config.streams)
            .map(|((id, stream), config)| Output::new(id, stream, config))
            .collect();
        Ok(Split {
            source,
            received: VecDeque::new(),
            batch: Vec::new(),
            splitter,
            count_headers: true,
            outputs,
            watch: Watch::default(),
            closing: None,
            hurry: watch::Sender::new(false),
            leaving: Vec::new(),
            closed: Vec::new(),
            unbinding: Vec::new(),
            undelivered: 0,
            alarm: Alarm::default(),
            config,
            base,
        })
    }

    /// Moves messages until something fails.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing, duplicates nothing and changes no order: whatever is under way waits in here.
    pub async fn run(&mut self) -> SplitError {
        poll_fn(|cx| self.poll_run(cx)).await
    }

    /// Goes over to another configuration. Outputs whose address and mode stay are not touched, so that their receivers
    /// notice nothing; they keep what waits for them and get their new rules (what is set when a socket is made, its
    /// own queue and a PUB's policy, stays). New ones are opened; all others get no more, and send what waits for them
    /// in the background, for as long as their linger says. The source is joined anew only if its address or mode
    /// changed; what it had received already is still passed on, and what was counted stays.
    ///
    /// An output that listens where a former one does, with another mode or multicast address, is opened once that one
    /// has given up its address: at once, but at a `udp://` address only when what waits there is sent, for as long as its
    /// linger says. Nothing moves meanwhile.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing, but that an output that was to be replaced in this way may be gone.
    ///
    /// # Errors
    /// [`SplitError::Config`] and [`SplitError::Connect`]; nothing changed, but that an output that was to be replaced in
    /// this way was closed and opened again.
    pub async fn reload(&mut self, config: SplitConfig) -> Result<Reloaded, SplitError> {
        config.validate()?;
        let replaced = self.replaced_by(&config);
        let mut opened = Vec::new();
        for output in &config.streams {
            let is_in_the_way = |id: &OutletId| {
                let former = self.outputs.iter().find(|former| former.id == *id);
                former.is_some_and(|former| output.listens_at(former.stream.endpoint()))
            };
            let stream = match self.is_known(output) || replaced.iter().any(is_in_the_way) {
                true => None,
                false => {
                    self.given_up(output).await;
                    Some(Output::open(output, &self.base).await?)
                }
            };
            opened.push(stream);
        }
        let source = match self.config.source.is_same(&config.source) {
            true => None,
            false => Some(join(&config, &self.base).await?),
        };
        let former = self.config.clone();
        let removed = self.remove(&replaced);
        for (output, stream) in config.streams.iter().zip(&mut opened) {
            if stream.is_none() && !self.is_known(output) {
                self.given_up(output).await;
                match Output::open(output, &self.base).await {
                    Ok(open) => *stream = Some(open),
                    Err(error) => {
                        drop(opened);
                        self.restore(former).await;
                        return Err(error);
                    }
                }
            }
        }
        // Nothing waits, and nothing fails, from here on.
        let mut reloaded = self.commit(config, opened, source);
        for address in removed {
            match reloaded.added.iter().position(|added| *added == address) {
                Some(index) => reloaded.replaced.push(reloaded.added.remove(index)),
                None => reloaded.removed.push(address),
            }
        }
        Ok(reloaded)
    }

    /// What passed through each output, in the order of the configuration; once it is [finished](Self::finish), in total.
    pub fn stats(&self) -> impl Iterator<Item = OutputStats> {
        let closed = self.closed.iter().map(|closed| closed.stats.clone());
        closed.chain(self.outputs.iter().map(|output| self.stats_of(output)))
    }

    fn stats_of(&self, output: &Output) -> OutputStats {
        output.stats(self.splitter.stats(output.id).unwrap_or_default())
    }

    /// Whether the statistics count the types and numbers of messages (default). It takes reading their headers, which is
    /// otherwise done only when a rule asks for it.
    pub fn count_headers(&mut self, on: bool) {
        self.count_headers = on;
    }

    /// What came from the source. A message without a readable header, which goes where no filter is, counts as unknown.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        self.source.statistics()
    }

    /// The same, to set the stride of the numbers or to ask for warnings.
    pub fn statistics_mut(&mut self) -> &mut Statistics {
        self.source.statistics_mut()
    }

    /// The counters of the source's socket: peers, and connections made again.
    #[must_use]
    pub fn source_socket(&self) -> Stats {
        self.source.socket_stats()
    }

    /// The source and the outputs, to watch who is at their other ends.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        let outputs = self.outputs.iter().map(|output| &output.stream);
        std::iter::once(&self.source).chain(outputs)
    }

    /// The source's address in use.
    #[must_use]
    pub fn source_endpoint(&self) -> &Endpoint {
        self.source.endpoint()
    }

    /// The configuration in use.
    #[must_use]
    pub fn config(&self) -> &SplitConfig {
        &self.config
    }

    fn is_known(&self, output: &OutputConfig) -> bool {
        self.outputs.iter().any(|known| known.is(output))
    }

    /// Outputs that are no more with `config`, and listen where others are to listen then.
    fn replaced_by(&self, config: &SplitConfig) -> Vec<OutletId> {
        let leaves = |former: &&Output| !config.streams.iter().any(|output| former.is(output));
        let is_in_the_way = |former: &&Output| {
            let endpoint = former.stream.endpoint();
            let mut new = config.streams.iter().filter(|output| !self.is_known(output));
            former.is_bound() && new.any(|output| output.listens_at(endpoint))
        };
        let leaving = self.outputs.iter().filter(leaves);
        leaving.filter(is_in_the_way).map(|former| former.id).collect()
    }

    /// Waits until nobody who was let go listens where `output` is to listen.
    async fn given_up(&mut self, output: &OutputConfig) {
        let is_free = |endpoint: &Endpoint| !output.listens_at(endpoint);
        while let Some(index) = self.unbinding.iter().position(|(at, _)| !is_free(at)) {
            // Neither panics nor is aborted.
            let _ = (&mut self.unbinding[index].1).await;
            self.unbinding.swap_remove(index);
        }
    }

    /// Lets outputs go and leaves all else as it is; returns their addresses.
    fn remove(&mut self, ids: &[OutletId]) -> Vec<String> {
        if ids.is_empty() {
            return Vec::new();
        }
        let kept = self.outputs.iter().filter(|output| !ids.contains(&output.id));
        let streams: Vec<_> = kept.map(|output| output.config.clone()).collect();
        let opened = streams.iter().map(|_| None).collect();
        let source = self.config.source.clone();
        self.commit(SplitConfig { source, streams }, opened, None).removed
    }

    /// Opens again what was removed. That somebody else has taken its address meanwhile leaves it out.
    async fn restore(&mut self, mut config: SplitConfig) {
        let mut opened = Vec::new();
        let mut streams = Vec::new();
        for output in config.streams {
            let mut stream = None;
            if !self.is_known(&output) {
                self.given_up(&output).await;
                match Output::open(&output, &self.base).await {
                    Ok(open) => stream = Some(open),
                    Err(_) => continue,
                }
            }
            opened.push(stream);
            streams.push(output);
        }
        config.streams = streams;
        self.commit(config, opened, None);
    }

    fn commit(
        &mut self,
        config: SplitConfig,
        opened: Vec<Option<Stream>>,
        source: Option<Stream>,
    ) -> Reloaded {
        let mut reloaded = Reloaded::default();
        let known = |output: &OutputConfig| self.outputs.iter().find(|known| known.is(output));
        let rules: Vec<_> = config
            .streams
            .iter()
            .map(|output| (known(output).map(|known| known.id), output.rule()))
            .collect();
        let mut queues = self.splitter.replace(rules);
        let mut former = std::mem::take(&mut self.outputs);
        for ((output, id), stream) in config.streams.iter().zip(self.splitter.outlets()).zip(opened) {
            if let Some(stream) = stream {
                reloaded.added.push(output.address.clone());
                self.outputs.push(Output::new(id, stream, output));
            } else if let Some(index) = former.iter().position(|known| known.id == id) {
                let mut kept = former.remove(index);
                if kept.config != *output {
                    reloaded.changed.push(output.address.clone());
                    kept.config = output.clone();
                }
                self.outputs.push(kept);
            }
        }
        for output in former {
            reloaded.removed.push(output.config.address.clone());
            let queue = take_queue(&mut queues, output.id);
            self.let_go(output, queue, tokio::time::Instant::now());
        }
        if let Some(mut source) = source {
            reloaded.source = true;
            source.go_on_counting(self.source.statistics());
            let former = std::mem::replace(&mut self.source, source);
            let malformed = take_received(&former, self.config.source.queue_size, &mut self.received);
            (0..malformed).for_each(|_| self.source.statistics_mut().handle_malformed());
        }
        self.config = config;
        reloaded
    }

    /// Lets an output leave; its linger counts from `begin`.
    fn let_go(&mut self, output: Output, queue: VecDeque<Message>, begin: tokio::time::Instant) {
        self.unbinding.retain(|(_, unbinding)| !unbinding.is_finished());
        let endpoint = output.stream.endpoint().clone();
        let (unbinding, leaving) = output.leave(queue, begin, true, self.hurry.subscribe());
        self.unbinding
            .extend(unbinding.map(|unbinding| (endpoint, unbinding)));
        self.leaving.push(leaving);
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<SplitError> {
        self.collect_left(cx);
        for output in &mut self.outputs {
            output.is_full = false;
        }
        for _ in 0..BUDGET {
            let real = now();
            let now = self.watch.read(real);
            // First of all: what was full may have room again.
            if let Poll::Ready(error) = self.poll_outputs(cx) {
                return Poll::Ready(error);
            }
            if !self.splitter.is_ready() {
                self.splitter.handle_timeout(now);
            }
            if !self.splitter.is_ready() {
                if self.has_work() {
                    continue;
                }
                let deadline = self.splitter.poll_timeout(now);
                match self.alarm.poll(cx, self.watch.sleep_until(deadline)) {
                    Poll::Ready(()) => continue,
                    Poll::Pending => return Poll::Pending,
                }
            }
            let message = match self.poll_source(cx) {
                Poll::Ready(Ok(message)) => message,
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                // What was placed last is still to be sent.
                Poll::Pending if self.has_work() => continue,
                Poll::Pending => {
                    self.watch.sleep();
                    return Poll::Pending;
                }
            };
            self.handle(real, now, message);
        }
        // Others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether something waits for an output that may take it.
    fn has_work(&self) -> bool {
        let waits = |id| self.splitter.stats(id).is_some_and(|stats| stats.queued > 0);
        let mut outputs = self.outputs.iter();
        outputs.any(|output| !output.is_full && waits(output.id))
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, RecvError>> {
        if let Some(message) = self.received.pop_front() {
            return Poll::Ready(Ok(message));
        }
        if self.closing.is_some() {
            return Poll::Ready(Err(RecvError::Closed));
        }
        loop {
            let link = self.source.link();
            match std::task::ready!(link.poll_recv_many(cx, &mut self.batch, BATCH)) {
                Ok(()) => break,
                Err(Fault::Recv(error)) => return Poll::Ready(Err(error)),
                Err(Fault::Malformed(..)) => self.source.statistics_mut().handle_malformed(),
            }
        }
        self.received.extend(self.batch.drain(..));
        match self.received.pop_front() {
            Some(message) => Poll::Ready(Ok(message)),
            None => Poll::Pending,
        }
    }

    fn handle(&mut self, real: Instant, now: Instant, message: Message) {
        let size = message.size();
        let statistics = self.source.statistics_mut();
        let wanted = self.count_headers || self.splitter.needs_header();
        let header = match wanted {
            true => StreamMessage::header_of(&message).ok(),
            false => None,
        };
        statistics.handle_message(real, size);
        match &header {
            Some(header) => statistics.handle_header(header, size),
            None if wanted => statistics.handle_unknown(),
            None => {}
        }
        self.splitter.handle_message(now, header.as_ref(), size, message);
    }

    fn poll_outputs(&mut self, cx: &mut Context<'_>) -> Poll<SplitError> {
        for output in &mut self.outputs {
            while !output.is_full {
                if output.sending.is_none() {
                    output.sending = self.splitter.poll_transmit(output.id);
                }
                if output.sending.is_none() {
                    break;
                }
                match output.stream.link().poll_send(cx, &mut output.sending) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(SplitError::Send {
                            address: output.config.address.clone(),
                            kind: error.kind().clone(),
                        });
                    }
                    Poll::Pending => output.is_full = true,
                }
            }
        }
        Poll::Pending
    }

    /// Forgets outputs that have sent all they could.
    fn collect_left(&mut self, cx: &mut Context<'_>) {
        let undelivered = &mut self.undelivered;
        self.leaving
            .retain_mut(|leaving| match std::pin::Pin::new(leaving).poll(cx) {
                Poll::Ready(left) => {
                    *undelivered += left.unwrap_or_default().messages();
                    false
                }
                Poll::Pending => true,
            });
    }
}

fn take_queue(queues: &mut [(OutletId, VecDeque<Message>)], id: OutletId) -> VecDeque<Message> {
    let found = queues.iter_mut().find(|(known, _)| *known == id);
    found.map(|(_, queue)| std::mem::take(queue)).unwrap_or_default()
}

/// Takes what a source has received already, but not for ever from one that goes on sending. Returns how much of it was no
/// message.
fn take_received(source: &Stream, queue_size: usize, received: &mut VecDeque<Message>) -> u64 {
    let peers = usize::try_from(source.socket_stats().peers).unwrap_or(usize::MAX);
    let most = match queue_size.saturating_mul(peers) {
        // Senders that are gone may have left as much as they liked; more does not come.
        0 => MAX_TAKEN,
        // A session bounds the bytes that wait, not the messages.
        _ if source.monitor().is_none() => MAX_TAKEN,
        most => most.max(queue_size).min(MAX_TAKEN),
    };
    let mut malformed = 0;
    for _ in 0..most {
        match source.link().try_recv() {
            Ok(message) => received.push_back(message),
            Err(Fault::Malformed(..)) => malformed += 1,
            Err(Fault::Recv(_)) => break,
        }
    }
    malformed
}

async fn join(config: &SplitConfig, base: &ConnectOptions) -> Result<Stream, SplitError> {
    let stream = Stream::connect(&config.source.address, config.source.options_over(base)).await;
    stream.map_err(|error| SplitError::Connect {
        address: config.source.address.clone(),
        error,
    })
}
