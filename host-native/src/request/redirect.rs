//! Sending clients to the object store for large blobs (SPEC C12).

use orlop_core::Asked;
use orlop_core::http::{Piece, Pieces, Response};
use orlop_core::object::ObjectId;

use crate::request::live::Live;
use crate::storage::Host;

/// The answer that sends a client to the object store for a blob, where the settings have it so and the store can. `None`
/// when the registry sends the bytes itself.
pub(super) async fn redirected(host: &Host, live: &Live, asked: &Asked, pieces: &Pieces) -> Option<Response> {
    let (digest, (object, size)) = (pieces.digest?, single(pieces)?);
    if !live.redirects.cover(asked.summary().repository?, size) {
        return None;
    }
    let url = host.sign(&object).await?;
    let response = Response::new(307).with("Location", url).with("Docker-Content-Digest", digest.to_string());
    Some(response.with("Content-Length", "0"))
}

/// The object that is all of the blob, and its size: when the client is to get all of it or one range. Of several ranges
/// a store gives none, or all.
fn single(pieces: &Pieces) -> Option<(ObjectId, u64)> {
    match (pieces.blob.as_slice(), pieces.part.as_deref()) {
        ([Piece::Slice(object, whole)], None | Some([Piece::Slice(..)])) => Some((*object, whole.end)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::digest::Algorithm;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_client_is_sent_elsewhere_for_one_range_of_one_object() {
        let object = |number| ObjectId::received_by(Uuid::from_u128(number));
        let slice = |number, from, to| Piece::Slice(object(number), from..to);
        let bytes = || Piece::Bytes("--boundary".into());
        let sent = |blob: &[Piece], part: Option<&[Piece]>| {
            let digest = Some(Algorithm::Sha256.digest(b"a blob"));
            single(&Pieces { digest, blob: blob.to_vec(), part: part.map(<[Piece]>::to_vec), verify: false })
        };
        let blob = [slice(1, 0, 100)];
        assert_eq!(sent(&blob, None), Some((object(1), 100)));
        assert_eq!(sent(&blob, Some(&[slice(1, 5, 10)])), Some((object(1), 100)));
        assert_eq!(sent(&blob, Some(&[bytes(), slice(1, 5, 10), bytes(), slice(1, 20, 30), bytes()])), None);
        assert_eq!(sent(&[slice(1, 0, 50), slice(2, 0, 50)], None), None);
        assert_eq!(sent(&[slice(1, 0, 50), slice(2, 0, 50)], Some(&[slice(1, 5, 10)])), None);
        assert_eq!(sent(&[bytes(), slice(2, 0, 50)], None), None);
    }
}
