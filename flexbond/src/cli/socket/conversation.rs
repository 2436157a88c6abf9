//! Who speaks when: the order of sending and receiving that each pattern asks for.

use std::cell::Cell;
use std::time::Duration;

use super::progress::Progress;
use super::{Failure, Input, Output, explain, note};
use crate::cli::input::Line;
use crate::cli::output::Stop;
use crate::session::socket::{RecvError, SendErrorKind, Socket, SocketType};
use crate::transport::Message;

/// How a conversation ended.
pub(super) enum End {
    /// All that was asked for was done; `failed` when something was reported on the way.
    Done { failed: bool },
    /// Nothing moved for as long as was allowed.
    TimedOut,
    /// A signal came.
    Signal(u8),
}

/// One socket, its input and its output.
pub(super) struct Conversation<'a> {
    socket: &'a Socket,
    limit: Option<u64>,
    echo: bool,
    progress: Progress,
    received: Cell<u64>,
    failed: Cell<bool>,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(socket: &'a Socket, limit: Option<u64>, echo: bool, timeout: Option<Duration>) -> Self {
        Conversation {
            socket,
            limit,
            echo,
            progress: Progress::new(timeout),
            received: Cell::new(0),
            failed: Cell::new(false),
        }
    }

    /// Talks until the end of input, the number of messages, the time-out or an error.
    pub(super) async fn run(
        &self,
        input: Option<Input>,
        output: &mut Output,
        delay: Option<Duration>,
    ) -> Result<End, Failure> {
        let result = tokio::select! {
            biased;
            result = self.speak(input, output, delay) => result,
            () = self.progress.stalled() => return Ok(End::TimedOut),
        };
        match result {
            Ok(()) | Err(Stop::ReaderGone) => Ok(End::Done {
                failed: self.failed.get(),
            }),
            Err(Stop::Failure(failure)) => Err(failure),
        }
    }

    async fn speak(
        &self,
        input: Option<Input>,
        output: &mut Output,
        delay: Option<Duration>,
    ) -> Result<(), Stop> {
        use SocketType::{Pub, Push, Rep, Req};
        match (self.socket.socket_type(), input) {
            (Req, Some(input)) => self.ask(input, output, delay).await,
            (Rep, input) => self.answer(input, output).await,
            (Push | Pub, Some(input)) => self.send_lines(input, delay).await.map_err(Stop::from),
            (_, Some(input)) => self.exchange(input, output, delay).await,
            (_, None) => self.receive_lines(output).await,
        }
    }

    /// Sends every line.
    async fn send_lines(&self, mut input: Input, delay: Option<Duration>) -> Result<(), Failure> {
        pause(delay).await;
        while let Some(line) = input.next().await {
            self.send_line(line?).await?;
        }
        Ok(())
    }

    /// Receives, prints and, if so asked, echoes, until there were enough.
    async fn receive_lines(&self, output: &mut Output) -> Result<(), Stop> {
        while !self.is_enough() {
            let message = self.receive(output).await?;
            if self.echo {
                // Before it is printed: who asks does not wait for who reads.
                self.send(message.clone(), &"echo").await?;
            }
            self.progress.wait(output.message(&message)).await?;
        }
        self.progress.wait(output.flush()).await?;
        Ok(())
    }

    /// Both at once.
    async fn exchange(&self, input: Input, output: &mut Output, delay: Option<Duration>) -> Result<(), Stop> {
        {
            let sending = self.send_lines(input, delay);
            let receiving = self.receive_lines(output);
            tokio::pin!(sending, receiving);
            tokio::select! {
                received = &mut receiving => return received,
                sent = &mut sending => {
                    sent?;
                    if self.limit.is_some() {
                        return receiving.await;
                    }
                }
            }
        }
        // What had already arrived is printed; what comes later is not waited for.
        while let Ok(message) = self.socket.try_recv() {
            self.progress.wait(output.message(&message)).await?;
        }
        self.progress.wait(output.flush()).await?;
        Ok(())
    }

    /// REQ: a line, its reply, the next line.
    async fn ask(&self, mut input: Input, output: &mut Output, delay: Option<Duration>) -> Result<(), Stop> {
        pause(delay).await;
        while !self.is_enough() {
            let Some(line) = input.next().await else { break };
            if self.send_line(line?).await? {
                let reply = self.receive(output).await?;
                self.progress.wait(output.message(&reply)).await?;
                self.progress.wait(output.flush()).await?;
            }
        }
        Ok(())
    }

    /// REP: a request, its reply, the next request.
    async fn answer(&self, mut input: Option<Input>, output: &mut Output) -> Result<(), Stop> {
        while !self.is_enough() {
            let request = self.receive(output).await?;
            match &mut input {
                None => {
                    // Before it is printed: who asks does not wait for who reads.
                    self.send(request.clone(), &"echo").await?;
                    self.progress.wait(output.message(&request)).await?;
                }
                Some(lines) => {
                    self.progress.wait(output.message(&request)).await?;
                    self.progress.wait(output.flush()).await?;
                    let Some(line) = lines.next().await else {
                        note("the input has ended; the last request was not answered");
                        return Ok(());
                    };
                    self.send_line(line?).await?;
                }
            }
        }
        self.progress.wait(output.flush()).await?;
        Ok(())
    }

    fn is_enough(&self) -> bool {
        self.limit.is_some_and(|limit| self.received.get() >= limit)
    }

    /// The next message. What was collected for output is written before there is a wait.
    async fn receive(&self, output: &mut Output) -> Result<Message, Stop> {
        let result = match self.socket.try_recv() {
            Err(RecvError::WouldBlock) => {
                self.progress.wait(output.flush()).await?;
                self.progress.wait(self.socket.recv()).await
            }
            result => result,
        };
        let message = result.map_err(|error| match error {
            RecvError::PeerLost(_) => Failure::new(explain(&error))
                .hint("the request may have been carried out; ask again if that does no harm"),
            _ => Failure::new(explain(&error)),
        })?;
        self.received.set(self.received.get() + 1);
        self.progress.moved();
        Ok(message)
    }

    async fn send_line(&self, line: Line) -> Result<bool, Failure> {
        self.send(line.message, &format_args!("input line {}", line.number))
            .await
    }

    /// Whether the message was sent; a peer that is not there is reported and does not end the program.
    async fn send(&self, message: Message, origin: &dyn std::fmt::Display) -> Result<bool, Failure> {
        let result = match self.socket.try_send(message) {
            Err(error) if *error.kind() == SendErrorKind::WouldBlock => {
                self.progress.wait(self.socket.send(error.into_message())).await
            }
            result => result,
        };
        let Err(error) = result else {
            self.progress.moved();
            return Ok(true);
        };
        match error.kind() {
            SendErrorKind::Unreachable(_) => {
                note(&format!("{origin}: {error}"));
                self.failed.set(true);
                Ok(false)
            }
            SendErrorKind::Incomplete(_) | SendErrorKind::Multipart => {
                Err(Failure::usage(format!("{origin}: {error}")))
            }
            _ => Err(Failure::new(format!("{origin}: {error}"))),
        }
    }
}

async fn pause(delay: Option<Duration>) {
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
}
