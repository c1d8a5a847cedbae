//! Streaming a body into a part: while one piece is hashed and written, the next is read.

use orlop_core::Fault;
use orlop_core::effect::{BodyEnd, Receive, Received};
use orlop_core::meter::Meter;

use crate::blocking;
use crate::body::RequestBody;
use crate::files::{Files, PartFile};

/// Streams `body` past the meter into the part. What was written is durable when this returns.
///
/// A body holds two pieces of memory at most, the one that comes in and the one that is written, and no thread while
/// nothing comes.
pub(crate) async fn receive(files: &Files, effect: Receive, body: &mut RequestBody) -> Result<Received, Fault> {
    let mut room = effect.meter.room();
    let mut sink = Sink { part: files.part(&effect.part), meter: effect.meter };
    let (mut piece, mut end) = body.gather(room).await;
    loop {
        room -= piece.len() as u64;
        let Some(end_found) = end else {
            let written = blocking::begin(move || sink.write(&piece));
            (piece, end) = body.gather(room).await;
            sink = blocking::finished(written.await)?;
            continue;
        };
        return blocking::run(move || sink.write(&piece)?.seal(end_found)).await;
    }
}

/// Where the bytes go: past the meter, into the part.
struct Sink {
    part: PartFile,
    meter: Meter,
}

impl Sink {
    fn write(mut self, piece: &[u8]) -> Result<Self, Fault> {
        self.part.append(piece)?;
        self.meter.update(piece);
        Ok(self)
    }

    fn seal(self, end: BodyEnd) -> Result<Received, Fault> {
        self.part.seal()?;
        Ok(Received { meter: self.meter, end })
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::digest::Algorithm;
    use orlop_core::effect::PartId;
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn no_byte_is_kept_past_the_room_of_the_meter() {
        let directory = TempDir::new().unwrap();
        let files = Files::open(directory.path(), 0).unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|index| (index % 251) as u8).collect();
        let check = async |number, limit, mut body: RequestBody, kept: usize, end| {
            let part = PartId { upload: Uuid::from_u128(number), nonce: Uuid::from_u128(number) };
            let meter = Meter::new(Algorithm::Sha256).with_limit(limit);
            let received = receive(&files, Receive { part, meter }, &mut body).await.unwrap();
            assert_eq!((received.meter.count(), received.end), (kept as u64, end), "check {number}");
            assert_eq!(received.meter.digest(), Algorithm::Sha256.digest(&bytes[..kept]));
            let path = directory.path().join(format!("uploads/0/{}.{}", part.upload, part.nonce));
            assert_eq!(std::fs::read(path).unwrap_or_default(), bytes[..kept], "check {number}");
        };
        let whole = || RequestBody::from_bytes(bytes.clone());
        check(1, u64::MAX, whole(), 300_000, BodyEnd::Whole).await;
        check(2, 300_000, whole(), 300_000, BodyEnd::Whole).await;
        check(3, 299_999, whole(), 299_999, BodyEnd::TooLarge).await;
        check(4, 1, whole(), 1, BodyEnd::TooLarge).await;
        check(5, 0, whole(), 0, BodyEnd::TooLarge).await;
        check(6, 0, RequestBody::empty(), 0, BodyEnd::Whole).await;
        check(7, 10, RequestBody::cut_after(bytes[..5].to_vec()), 5, BodyEnd::Cut).await;
        check(8, 10, RequestBody::cut_after(bytes[..0].to_vec()), 0, BodyEnd::Cut).await;
        check(9, 4, RequestBody::cut_after(bytes[..5].to_vec()), 4, BodyEnd::TooLarge).await;
    }
}
