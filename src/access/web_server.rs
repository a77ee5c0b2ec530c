//! A small HTTP server on the loopback address, for tests of what asks other servers.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The questions, oldest first.
pub(super) type AskedRequests = Arc<Mutex<Vec<Request<Bytes>>>>;

/// A server that answers with what `answer` makes of the number of the request, from 1; `None`
/// never answers.
#[expect(
    clippy::disallowed_methods,
    reason = "it ends with the runtime of its test"
)]
pub(super) async fn serve(
    answer: impl Fn(usize) -> Option<(u16, String)> + Clone + Send + 'static,
) -> (Uri, AskedRequests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = AskedRequests::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, answer) = (Arc::clone(&seen), answer.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (seen, answer) = (Arc::clone(&seen), answer.clone());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let count = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(Request::from_parts(head, body));
                        seen.len()
                    };
                    let Some((status, text)) = answer(count) else {
                        return std::future::pending().await;
                    };
                    let reply = Response::builder().status(status);
                    Ok::<_, hyper::Error>(reply.body(Full::new(Bytes::from(text))).unwrap())
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (format!("http://{address}/?key=1").parse().unwrap(), asked)
}
