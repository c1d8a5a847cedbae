//! The one file that suspends flows, and the only one that names `std`.
//!
//! Inside the core every operation is a straight-line `async fn`; outside it is a state machine that cannot
//! be driven wrong. `async` serves as a coroutine only: no executor, no waker that wakes. The only thing a
//! flow may await is [`Io::ask`], the only thing that resumes it is [`Ask::answer`].

extern crate std;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::effect::question::Question;
use crate::effect::{Effect, Fault, Step};

/// A question of the core, to be consumed by its answer. Dropping it ends the call where it stands: that is
/// what a crash is.
#[must_use = "a question that is not answered ends the call"]
#[derive(Debug)]
pub struct Ask<E: Effect, R = crate::Response> {
    /// What is asked.
    pub effect: E,
    /// The call that waits for the answer.
    pub waiting: Waiting<E, R>,
}

/// A suspended call that waits for the outcome of one effect.
#[must_use = "a question that is not answered ends the call"]
pub struct Waiting<E: Effect, R = crate::Response> {
    reply: Reply<E>,
    flow: Flow<R>,
}

impl<E: Effect, R> Ask<E, R> {
    pub(crate) fn new(effect: E, reply: Reply<E>, flow: Flow<R>) -> Self {
        Self { effect, waiting: Waiting { reply, flow } }
    }

    /// Gives the outcome to the call and runs it to its next question or its end.
    pub fn answer(self, outcome: Result<E::Outcome, Fault>) -> Step<R> {
        self.waiting.answer(outcome)
    }

    pub(crate) fn map<S>(self, change: impl FnOnce(R) -> S + Send + 'static) -> Ask<E, S>
    where
        R: 'static,
    {
        let Waiting { reply, flow: Flow { future, shared } } = self.waiting;
        let future = Box::pin(async move { change(future.await) });
        Ask::new(self.effect, reply, Flow { future, shared })
    }
}

impl<E: Effect, R> Waiting<E, R> {
    /// Gives the outcome to the call and runs it to its next question or its end.
    pub fn answer(self, outcome: Result<E::Outcome, Fault>) -> Step<R> {
        *lock(&self.reply) = Some(outcome);
        self.flow.resume()
    }
}

impl<E: Effect, R> core::fmt::Debug for Waiting<E, R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Waiting")
    }
}

/// What a flow asks its questions with.
#[derive(Clone)]
pub struct Io {
    shared: Arc<Shared>,
}

/// What a flow and whoever drives it have in common.
#[derive(Default)]
struct Shared {
    /// Where a flow lays the question it is suspended on.
    question: Mutex<Option<Question>>,
    /// What is to be done when the flow has answered.
    deferred: Mutex<Vec<Deferred>>,
}

type Deferred = Box<dyn FnOnce(Io) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Where the answer to one question is laid down for the flow that asked it.
pub(crate) type Reply<E> = Arc<Mutex<Option<Result<<E as Effect>::Outcome, Fault>>>>;

impl Io {
    /// Suspends the flow until the host has answered.
    pub async fn ask<E: Effect>(&self, effect: E) -> Result<E::Outcome, Fault> {
        let reply: Reply<E> = Arc::default();
        *lock(&self.shared.question) = Some(effect.question(reply.clone()));
        poll_fn(|_| match lock(&reply).take() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        })
        .await
    }

    /// Leaves a flow for when this one has its result: whoever waits for that does not wait for it, and what becomes
    /// of it changes no answer.
    pub fn defer<F>(&self, flow: impl FnOnce(Io) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        lock(&self.shared.deferred).push(Box::new(|io| Box::pin(flow(io))));
    }
}

/// What a call does when its result is known. Dropping it is what a crash right after the answer is.
pub struct Rest(Vec<Deferred>);

impl Rest {
    /// Begins with it.
    pub fn begin(self) -> Step<()> {
        start(|io| async move {
            for deferred in self.0 {
                deferred(io.clone()).await;
            }
        })
    }
}

impl core::fmt::Debug for Rest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Rest")
    }
}

/// A suspended flow.
pub(crate) struct Flow<R> {
    future: Pin<Box<dyn Future<Output = R> + Send>>,
    shared: Arc<Shared>,
}

impl<R> Flow<R> {
    fn resume(mut self) -> Step<R> {
        match self.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => {
                let deferred = core::mem::take(&mut *lock(&self.shared.deferred));
                if deferred.is_empty() { Step::Respond(result) } else { Step::Answered(result, Rest(deferred)) }
            }
            Poll::Pending => {
                let question = lock(&self.shared.question).take();
                question.expect("a flow awaits nothing but `Io::ask`, which lays a question").into_step(self)
            }
        }
    }
}

/// Starts a flow: any `async` function that awaits nothing but [`Io::ask`]. The registry's own calls begin
/// here, and so do the suites that every host must pass.
///
/// # Panics
///
/// When the flow awaits anything else.
pub fn start<R, F>(flow: impl FnOnce(Io) -> F) -> Step<R>
where
    F: Future<Output = R> + Send + 'static,
{
    let shared: Arc<Shared> = Arc::default();
    let io = Io { shared: shared.clone() };
    Flow { future: Box::pin(flow(io)), shared }.resume()
}

/// Nobody holds these locks while running foreign code, so a poisoned one guards a whole value all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
