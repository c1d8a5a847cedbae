//! Bodies of the contract suite, as a connection brings them.

use std::io;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use orlop_core::memory::RequestBody;

/// The body as a connection brings it: in pieces, with an error when it breaks, and with a pause in the middle when it
/// is slow.
pub(crate) fn arriving(body: &RequestBody) -> orlop::RequestBody {
    let mut frames: Vec<io::Result<_>> = body.bytes.chunks(2).map(|piece| Ok(piece.to_vec())).collect();
    if body.cut {
        frames.push(Err(io::ErrorKind::ConnectionReset.into()));
    }
    let pause = if body.slow { Duration::from_millis(200) } else { Duration::ZERO };
    let middle = frames.len() / 2;
    let frames = stream::iter(frames.into_iter().enumerate()).then(move |(number, frame)| async move {
        if number == middle {
            tokio::time::sleep(pause).await;
        }
        frame
    });
    orlop::RequestBody::new(axum::body::Body::from_stream(frames), Duration::from_secs(60))
}
