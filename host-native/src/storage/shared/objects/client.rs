//! The HTTP client of object stores: hyper, as the server itself uses it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::Method;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use rustls::ClientConfig;
use tokio::time::{Sleep, sleep, timeout};

use crate::storage::counters::{Counters, ObjectRequest};

/// How long a store may take until it is connected.
const CONNECTING: Duration = Duration::from_secs(5);

/// How long a store may take until it begins to answer: a part of some MiB is sent meanwhile.
const ANSWERING: Duration = Duration::from_secs(60);

/// How long an answer with bytes of an object may stand still while more of them are waited for.
const STALLED: Duration = Duration::from_secs(20);

/// How long a store may take to end an upload. Some put its parts together then: that is minutes for a large one, before
/// the answer or after its head.
const ENDING: Duration = Duration::from_secs(900);

/// How many bytes an answer may have that is read to its end before it counts: one to the removal of a thousand objects has
/// some hundred KiB.
const LARGEST: usize = 16 << 20;

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);

/// Makes clients that trust what a configuration trusts, and count what they ask.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) counters: Counters,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = Tcp::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECTING));
        tcp.enforce_http(false);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config((*self.tls).clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(https);
        Ok(HttpClient::new(Hyper { client, counters: self.counters.clone() }))
    }
}

#[derive(Debug)]
struct Hyper {
    client: Client<HttpsConnector<Tcp>, HttpRequestBody>,
    counters: Counters,
}

#[async_trait]
impl HttpService for Hyper {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let reads = request.method() == Method::GET;
        let [answering, patience] = patience(request.method());
        let method = request.method().to_string();
        let count = |status: u16| self.counters.objects.get_or_create(&ObjectRequest { method, status }).inc();
        // Whoever asked may ask again: a request that was done once is done twice without harm, and what that leaves in
        // the store is found.
        let again = |error| HttpError::new_boxed(HttpErrorKind::Request, error);
        let answered = match timeout(answering, self.client.request(request)).await {
            Ok(answered) => answered,
            Err(late) => {
                count(0);
                return Err(HttpError::new(HttpErrorKind::Timeout, late));
            }
        };
        match answered {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let body = Patient { body, patience, stalled: None };
                if reads && head.status.is_success() {
                    count(head.status.as_u16());
                    return Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)));
                }
                // The library does not ask again when an answer breaks off after its head.
                match Limited::new(body, LARGEST).collect().await {
                    Ok(whole) => {
                        count(head.status.as_u16());
                        Ok(HttpResponse::from_parts(head, whole.to_bytes().into()))
                    }
                    Err(error) => {
                        count(0);
                        Err(again(error))
                    }
                }
            }
            Err(error) => {
                count(0);
                Err(if error.is_connect() {
                    HttpError::new(HttpErrorKind::Connect, error)
                } else {
                    again(error.into())
                })
            }
        }
    }
}

/// How long the answer to such a request may take to begin, and then stand still.
fn patience(method: &Method) -> [Duration; 2] {
    if method == Method::POST { [ENDING; 2] } else { [ANSWERING, STALLED] }
}

/// The body of an answer, which breaks off when no byte comes for a while although it is waited for.
struct Patient<B> {
    body: B,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Patient<B> {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.stalled = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| HttpError::new(of(&error), error))));
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        let late = io::Error::new(io::ErrorKind::TimedOut, "the store has stopped in the middle of an answer");
        Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Timeout, late))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What kind of error broke off an answer.
fn of(error: &hyper::Error) -> HttpErrorKind {
    if error.is_timeout() { HttpErrorKind::Timeout } else { HttpErrorKind::Interrupted }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    /// Gives a byte whenever it is told to.
    struct Told(bool);

    impl Body for Told {
        type Data = Bytes;
        type Error = hyper::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
            if std::mem::take(&mut self.0) {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
            } else {
                Poll::Pending
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_stands_still_breaks_off_but_not_while_nobody_waits_for_it() {
        let [_, stalled] = patience(&Method::GET);
        let mut body = Patient { body: Told(true), patience: stalled, stalled: None };
        let next = async |body: &mut Patient<Told>| poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        assert!(next(&mut body).await.is_some_and(|frame| frame.is_ok()));
        // Whoever reads it takes an hour over a byte.
        sleep(Duration::from_secs(3600)).await;
        body.body.0 = true;
        assert!(next(&mut body).await.is_some_and(|frame| frame.is_ok()));
        let began = Instant::now();
        assert!(
            next(&mut body).await.is_some_and(|frame| frame.is_err_and(|error| error.kind() == HttpErrorKind::Timeout))
        );
        assert_eq!(began.elapsed().as_secs(), STALLED.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_may_take_minutes_to_end_an_upload() {
        let [answering, stalled] = patience(&Method::POST);
        assert!(answering >= Duration::from_secs(600));
        let mut body = Patient { body: Told(false), patience: stalled, stalled: None };
        let next = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        assert!(timeout(Duration::from_secs(600), next).await.is_err(), "it is waited for");
    }
}
