//! Uploads that are open in the store and in no record, so that garbage collection of objects cannot find them.
//!
//! One comes to be when the store has begun an upload and its answer is lost: the library asks again, and the upload that
//! is recorded then is another one. So is one of a process that was killed between the two. Stores bill what was sent to
//! them. Azure has no uploads: it removes parts that became nothing after a week.

use std::time::{Duration, SystemTime};

use axum::http::Request;
use object_store::client::HttpRequestBody;
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions};
use object_store::{Error, MultipartId};
use orlop_core::Fault;
use orlop_core::effect::Get;
use orlop_core::object::ObjectId;
use serde::Deserialize;

use super::fault::fault;
use super::{Objects, recorded, upload_key};

/// How long the URL is good by which a page is asked for, at once.
const SIGNED: Duration = Duration::from_secs(60);

/// A page of the uploads that are open in a bucket, as S3 and Google Cloud Storage answer it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
    #[serde(default, rename = "Upload")]
    uploads: Vec<Begun>,
}

/// Why a store refuses to list them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Refusal {
    code: String,
    message: String,
}

/// An upload that was begun.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Begun {
    key: String,
    upload_id: MultipartId,
    initiated: String,
}

impl Objects {
    /// Ends uploads that no record knows, of those that were begun longer ago than any call can live: how many.
    ///
    /// The record of an upload is made at once after its beginning, and is there until it has ended. So one that is in
    /// the list and in no record that is read later belongs to no call that lives.
    pub(in crate::storage) async fn end_unrecorded(&self, call_lifetime: Duration) -> Result<u64, Fault> {
        let (mut ended, mut markers) = (0, None);
        loop {
            let Some(page) = self.begun(markers.as_ref()).await? else { return Ok(ended) };
            let old = |begun: &Begun| {
                let since = humantime::parse_rfc3339(&begun.initiated).ok()?;
                let age = SystemTime::now().duration_since(since).unwrap_or_default();
                let object = self.layout.object(&Path::parse(&begun.key).ok()?)?;
                (age > call_lifetime).then(|| (object, begun.upload_id.clone()))
            };
            let old: Vec<(ObjectId, MultipartId)> = page.uploads.iter().filter_map(old).collect();
            let keys = old.iter().map(|(object, _)| upload_key(object)).collect();
            let known = self.records.get(Get { keys }).await?;
            for ((object, id), known) in old.iter().zip(known) {
                if known.and_then(|value| recorded(&value)).is_some_and(|(_, known)| known == *id) {
                    continue;
                }
                let path = self.layout.path(object);
                match self.store.abort_multipart(&path, id).await {
                    Ok(()) => ended += 1,
                    Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(fault("abort an upload of", &path, &error)),
                }
            }
            let next = Some((page.next_key_marker, page.next_upload_id_marker));
            // Some stores say that there is more, and not where it begins.
            if !page.is_truncated || page.uploads.is_empty() || next == markers {
                return Ok(ended);
            }
            markers = next;
        }
    }

    /// The uploads that are open behind these markers; `None` where a store has none, or cannot be asked.
    async fn begun(&self, markers: Option<&(String, String)>) -> Result<Option<Page>, Fault> {
        let directory = self.layout.directory();
        let failed = |wrong: &dyn std::fmt::Display| {
            Fault::Unavailable(format!("cannot list the uploads under {directory}: {wrong}"))
        };
        let mut query = vec![("uploads", String::new()), ("prefix", format!("{directory}/"))];
        if let Some((key, id)) = markers {
            query.extend([("key-marker", key.clone()), ("upload-id-marker", id.clone())]);
        }
        let options = SignedUrlOptions::default().with_query(query);
        let url = match self.store.signed_url_opts(Method::GET, &Path::default(), SIGNED, &options).await {
            Ok(url) => url,
            Err(Error::NotSupported { .. } | Error::NotImplemented { .. }) => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let request = Request::get(url.as_str()).body(HttpRequestBody::empty()).map_err(|error| failed(&error))?;
        let answer = self.http.execute(request).await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let text = answer.into_body().bytes().await.map_err(|error| failed(&error))?;
        if !status.is_success() {
            // The rest of the answer may name the credentials.
            let told: Refusal = quick_xml::de::from_reader(text.as_ref()).unwrap_or_default();
            return Err(failed(&format_args!("{status}: {} {}", told.code, told.message)));
        }
        quick_xml::de::from_reader(text.as_ref()).map(Some).map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_stores_write_it() {
        let text = br#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Bucket>bucket</Bucket><KeyMarker></KeyMarker><UploadIdMarker></UploadIdMarker>
              <NextKeyMarker>a&amp;b/objects/2</NextKeyMarker><NextUploadIdMarker>id2</NextUploadIdMarker>
              <MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>
              <Upload><Key>a&amp;b/objects/1</Key><UploadId>id1</UploadId><Initiator><ID>x</ID></Initiator>
                <StorageClass>STANDARD</StorageClass><Initiated>2026-11-26T10:11:12.000Z</Initiated></Upload>
              <Upload><Key>a&amp;b/objects/2</Key><UploadId>id2</UploadId><Initiated>2026-11-26T10:11:12Z</Initiated></Upload>
            </ListMultipartUploadsResult>"#;
        let page: Page = quick_xml::de::from_reader(text.as_slice()).unwrap();
        assert!(page.is_truncated);
        assert_eq!((page.next_key_marker.as_str(), page.next_upload_id_marker.as_str()), ("a&b/objects/2", "id2"));
        let keys: Vec<_> = page.uploads.iter().map(|begun| (begun.key.as_str(), begun.upload_id.as_str())).collect();
        assert_eq!(keys, [("a&b/objects/1", "id1"), ("a&b/objects/2", "id2")]);
        assert!(page.uploads.iter().all(|begun| humantime::parse_rfc3339(&begun.initiated).is_ok()));
        let empty = b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        let page: Page = quick_xml::de::from_reader(empty.as_slice()).unwrap();
        assert!(!page.is_truncated && page.uploads.is_empty());
    }
}
