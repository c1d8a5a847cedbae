//! Sessions of the web page and API tokens that have ended.

use super::Collection;
use crate::api_token::ApiTokenRecord;
use crate::config::ENDED_TOKEN;
use crate::error::Error;
use crate::flows::pages::Pages;
use crate::keys;
use crate::record;
use crate::sign_in::SignInRecord;

impl Collection<'_> {
    /// Removes sessions that have ended by themselves: nobody can use them any more.
    pub(super) async fn sign_ins(&mut self) -> Result<(), Error> {
        let prefix = keys::all_sign_ins();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let session = record::decode::<SignInRecord>(&key, &value).map_err(Error::from);
                let Some(session) = self.pass_by_damage(session)? else { continue };
                if session.ends(&self.call.config) <= self.call.ambient.now {
                    self.forget(key, value).await?;
                }
            }
        }
        Ok(())
    }

    /// Removes API tokens that have ended a while ago.
    pub(super) async fn api_tokens(&mut self) -> Result<(), Error> {
        let prefix = keys::all_api_tokens();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let token = record::decode::<ApiTokenRecord>(&key, &value).map_err(Error::from);
                let Some(token) = self.pass_by_damage(token)? else { continue };
                if token.expires.is_some_and(|expires| self.older(ENDED_TOKEN, expires)) {
                    self.forget(key, value).await?;
                }
            }
        }
        Ok(())
    }
}
