//! Formats of one's own: what a user makes of the parts of messages with an `htype`.

use std::any::{Any, type_name};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use flexbond_transport::{Frame, Message};

use crate::Header;

/// Makes a value of the parts of messages that have one `htype`.
///
/// Any function of header and parts is a handler. What it returns comes as [`Body::Custom`](crate::Body::Custom); an
/// error makes that one message malformed, and nothing else.
///
/// ```
/// use flexbond_stream::{Decoder, Header, StreamMessage};
/// use flexbond_transport::Frame;
///
/// struct Temperature(f64);
///
/// let mut decoder = Decoder::new();
/// decoder.register("thermometer-1.0", |_: &Header, parts: &[Frame]| {
///     let text = parts.first().and_then(|part| part.to_str().ok()).unwrap_or_default();
///     text.parse().map(Temperature)
/// });
///
/// let message = [r#"{"htype":"thermometer-1.0"}"#, "21.5"].into_iter().collect();
/// let message = decoder.decode(&message)?;
/// assert_eq!(message.custom::<Temperature>().unwrap().0, 21.5);
/// # Ok::<(), flexbond_stream::DecodeError>(())
/// ```
pub trait Handler: Send + Sync + 'static {
    /// What the parts become.
    type Value: Any + Send + Sync;
    /// Why they do not.
    type Error: Error + Send + Sync + 'static;

    /// Understands one message; `parts` are those after the header. A message of Dectris' stream V2 has no header: it gets
    /// the [summary](crate::stream2::Message::header), and `parts` is the one part that the message is.
    ///
    /// # Errors
    /// Whatever is wrong with the message; the next one is handled all the same.
    fn decode(&mut self, header: &Header, parts: &[Frame]) -> Result<Self::Value, Self::Error>;
}

impl<F, V, E> Handler for F
where
    F: FnMut(&Header, &[Frame]) -> Result<V, E> + Send + Sync + 'static,
    V: Any + Send + Sync,
    E: Error + Send + Sync + 'static,
{
    type Value = V;
    type Error = E;

    fn decode(&mut self, header: &Header, parts: &[Frame]) -> Result<V, E> {
        self(header, parts)
    }
}

/// What a user's handler said was wrong with a message; its own error is the [`source`](Error::source).
#[derive(Debug)]
pub struct HandlerError {
    htype: String,
    source: Box<dyn Error + Send + Sync>,
}

impl HandlerError {
    pub(crate) fn new(htype: &str, source: impl Error + Send + Sync + 'static) -> Self {
        HandlerError {
            htype: htype.to_owned(),
            source: Box::new(source),
        }
    }

    /// The `htype` whose handler it was.
    #[must_use]
    pub fn htype(&self) -> &str {
        &self.htype
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the handler of {:?} refused the message", self.htype)
    }
}

impl Error for HandlerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// The value that a user's handler made of a message, and the parts that it was made of: the message can be forwarded.
#[derive(Clone)]
pub struct Custom {
    value: Arc<dyn Any + Send + Sync>,
    type_name: &'static str,
    parts: Vec<Frame>,
    // Whether the parts are the message, with no header before them.
    whole: bool,
}

impl Custom {
    /// A value for the parts that it was made of, or that stand for it.
    #[must_use]
    pub fn new<V: Any + Send + Sync>(value: V, parts: Vec<Frame>) -> Self {
        Custom {
            value: Arc::new(value),
            type_name: type_name::<V>(),
            parts,
            whole: false,
        }
    }

    /// The same for parts that have no header before them.
    pub(crate) fn without_header(self) -> Self {
        Custom { whole: true, ..self }
    }

    /// Whether the parts are the message, with no header before them.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The value, if it is a `V`.
    #[must_use]
    pub fn downcast_ref<V: Any>(&self) -> Option<&V> {
        self.value.downcast_ref()
    }

    /// The parts after the header, as they travel; of a message of Dectris' stream V2 its only part.
    #[must_use]
    pub fn parts(&self) -> &[Frame] {
        &self.parts
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom")
            .field("value", &self.type_name)
            .field("parts", &self.parts)
            .finish()
    }
}

/// What one call's own handler made of a message, whatever its `htype`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Handled<V> {
    /// The first part; of a message of Dectris' stream V2 a [summary](crate::stream2::Message::header).
    pub header: Header,
    /// What the handler returned.
    pub value: V,
    /// The whole message as it came: it can be forwarded.
    pub message: Message,
}

/// A handler whose types are forgotten.
pub(crate) trait AnyHandler: Send + Sync {
    fn handle(&mut self, header: &Header, parts: Vec<Frame>) -> Result<Custom, HandlerError>;
}

impl<H: Handler> AnyHandler for H {
    fn handle(&mut self, header: &Header, parts: Vec<Frame>) -> Result<Custom, HandlerError> {
        match self.decode(header, &parts) {
            Ok(value) => Ok(Custom::new(value, parts)),
            Err(error) => Err(HandlerError::new(header.htype(), error)),
        }
    }
}
