//! `/api/v1/folders`: repositories as a tree by the slashes in their names (SPEC AA5, AD2).

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use super::repositories::Listed;
use super::{Wanted, answer, read};
use crate::ambient::Timestamp;
use crate::caller::{Place, Right};
use crate::config::{BROWSE_FOLDERS, SCAN_PAGE};
use crate::effect::Get;
use crate::error::Error;
use crate::flows::Call;
use crate::http::Response;
use crate::keys::{self, Key};
use crate::name::Repository;
use crate::record::PushedRecord;
use crate::target::Query;

/// Where it is.
const PATH: &str = "/api/v1/folders";

/// What a folder has in it.
#[derive(Serialize)]
struct Folder {
    entries: Vec<Entry>,
    /// The URL of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A repository, or a folder of them.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Entry {
    Repository(Listed),
    Folder {
        /// What the names of all that is in it begin with, without the slash behind that.
        name: String,
        /// How many repositories are in it and in its folders, as far as they are counted.
        repositories: usize,
        /// Whether there are more than that.
        more: bool,
        /// The bytes of those repositories from which the caller may pull; not told where counting takes too long.
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        /// When something was last pushed to one of those repositories; not told where counting takes too long, and
        /// where all were pushed to before that was noted.
        #[serde(skip_serializing_if = "Option::is_none")]
        pushed: Option<String>,
    },
}

impl Call {
    /// A page of what is directly in a folder: the repositories, and the folders that have some.
    pub(crate) async fn browse_folder(&self, query: &Query) -> Result<Response, Error> {
        let wanted = Wanted::read(query, &["name"])?;
        let beginning = wanted.beginning();
        let (mut entries, mut repositories) = (Vec::new(), Vec::new());
        let mut left = BROWSE_FOLDERS;
        let mut from = match wanted.after {
            None => Some(Place::start()),
            // A folder is named with its slash: the rest begins behind all that is in it.
            Some(after) if after.ends_with('/') => Place::past(after),
            Some(after) => Some(Place::after(after)),
        };
        let (mut next, mut last) = (None, String::new());
        while let Some(at) = from {
            let (names, _) = self.visible(&beginning, at, 1, |_| true).await?;
            let Some(name) = names.into_iter().next() else { break };
            if entries.len() == wanted.n {
                next = Some(last);
                break;
            }
            let rest = name.strip_prefix(&beginning).unwrap_or(&name);
            match rest.split_once('/') {
                None => {
                    from = Some(Place::after(&name));
                    last = name.clone();
                    repositories.push(name.clone());
                    entries.push(Entry::Repository(Listed::named(name)));
                }
                Some((folder, _)) => {
                    let name = alloc::format!("{beginning}{folder}");
                    let inside = alloc::format!("{name}/");
                    let most = SCAN_PAGE.min(left).max(1);
                    let (names, more) = self.visible(&inside, Place::start(), most, |_| true).await?;
                    left = left.saturating_sub(names.len());
                    let (mut bytes, mut pushed) = (None, None);
                    if let Some(behind) = left.checked_sub(names.len()) {
                        left = behind;
                        let counted = self.counted_bytes(&names, true).await?;
                        bytes = Some(counted.into_iter().fold(0, u64::saturating_add));
                        pushed = self.last_noted_push(&names).await?.map(|pushed| pushed.rfc3339());
                    }
                    entries.push(Entry::Folder { name, repositories: names.len(), more, bytes, pushed });
                    from = Place::past(&inside);
                    last = inside;
                }
            }
        }
        let mut told = self.told_of(repositories).await?.into_iter().peekable();
        for entry in &mut entries {
            if let Entry::Repository(listed) = entry
                && let Some(known) = told.next_if(|known| known.name == listed.name)
            {
                *listed = known;
            }
        }
        Ok(answer(&Folder { entries, next: wanted.next(PATH, next) }))
    }

    /// When something was last pushed to one of these repositories, of those from which the caller may pull. Those of which it
    /// is not noted were pushed to before all others.
    async fn last_noted_push(&self, names: &[String]) -> Result<Option<Timestamp>, Error> {
        let known = names.iter().filter_map(|name| name.parse::<Repository>().ok());
        let keys: Vec<Key> = known.filter(|name| self.may(Right::Pull, name)).map(|name| keys::pushed(&name)).collect();
        let noted = self.ask(Get { keys: keys.clone() }).await?;
        let noted = keys.iter().zip(noted).filter_map(|(key, value)| read::<PushedRecord>(key, value));
        Ok(noted.map(|noted| noted.pushed).max())
    }
}
