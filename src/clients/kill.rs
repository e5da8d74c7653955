//! `CLIENT KILL`, both forms.

use super::answer::{Outcome, Question, unknown_client_type};
use super::card::{Card, ClientType, Facts};
use super::{c_string, is_word};
use crate::resp::reply::ReplyWriter;
use crate::resp::scan::strict_integer;

/// Which clients are meant: all for which every condition holds.
struct Filter<'a> {
    id: Option<u64>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    class: Option<ClientType>,
    user: Option<&'a [u8]>,
    /// Seconds that it must have lived.
    max_age: Option<u64>,
    /// Whether the asker is left alone.
    skips_asker: bool,
}

/// `CLIENT KILL addr`, `CLIENT KILL option value …`.
pub(super) fn kill(question: &Question<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let is_old_form = question.request.argc() == 3;
    let filter = match Filter::parse(question) {
        Ok(filter) => filter,
        Err(error) => {
            reply.error(&error);
            return Outcome::Stay;
        }
    };
    let mut killed = 0;
    let mut outcome = Outcome::Stay;
    for card in question.among.cards() {
        if !filter.admits(question, &card) {
            continue;
        }
        if card.id() == question.asker.id() {
            killed += 1;
            outcome = Outcome::CloseAfterReply;
        } else if question.among.kill(card.id()) {
            killed += 1;
        }
    }
    match (is_old_form, killed) {
        (false, _) => reply.integer(killed),
        (true, 0) => reply.error(b"ERR No such client"),
        (true, _) => reply.simple("OK"),
    }
    outcome
}

impl<'a> Filter<'a> {
    /// The filter that a request describes, or the error. Of an option given twice, the last one counts.
    fn parse(question: &Question<'a>) -> Result<Self, Vec<u8>> {
        let request = question.request;
        let mut filter = Self {
            id: None,
            addr: None,
            laddr: None,
            class: None,
            user: None,
            max_age: None,
            skips_asker: true,
        };
        if let (3, Some(addr)) = (request.argc(), request.arg(2)) {
            // The old form does not spare the asker.
            return Ok(Self { addr: Some(c_string(addr)), skips_asker: false, ..filter });
        }
        let mut args = request.args().skip(2);
        while let Some(option) = args.next() {
            filter.read(option, args.next().ok_or_else(syntax_error)?, question)?;
        }
        Ok(filter)
    }

    fn read(&mut self, option: &[u8], value: &'a [u8], question: &Question<'_>) -> Result<(), Vec<u8>> {
        let option_is = |name: &[u8]| is_word(option, name);
        if option_is(b"ID") {
            let id = strict_integer(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
            self.id = Some(id.ok_or_else(|| b"ERR client-id should be greater than 0".to_vec())?);
        } else if option_is(b"MAXAGE") && question.release >= (7, 4) {
            let age = strict_integer(value).ok_or_else(|| NOT_AN_AGE.to_vec())?;
            let age = u64::try_from(age).ok().filter(|age| *age > 0);
            self.max_age = Some(age.ok_or_else(|| b"ERR maxage should be greater than 0".to_vec())?);
        } else if option_is(b"TYPE") {
            let class = ClientType::parse(value);
            self.class = Some(class.ok_or_else(|| unknown_client_type(value))?);
        } else if option_is(b"ADDR") {
            self.addr = Some(c_string(value));
        } else if option_is(b"LADDR") {
            self.laddr = Some(c_string(value));
        } else if option_is(b"USER") {
            if value != b"default" && !(question.has_user)(value) {
                return Err([b"ERR No such user '", c_string(value), b"'"].concat());
            }
            self.user = Some(value);
        } else if option_is(b"SKIPME") {
            self.skips_asker = yes_or_no(value).ok_or_else(syntax_error)?;
        } else {
            return Err(syntax_error());
        }
        Ok(())
    }

    fn admits(&self, question: &Question<'_>, card: &Card) -> bool {
        let origin = card.origin();
        let age = u64::from(question.now_secs().saturating_sub(origin.created_secs));
        let is_asker = origin.id == question.asker.id();
        let has_facts = |facts: &Facts| {
            self.class.is_none_or(|class| class == facts.client_type())
                && self.user.is_none_or(|user| user == facts.user.as_bytes())
        };
        self.id.is_none_or(|id| id == origin.id)
            && self.addr.is_none_or(|addr| addr == origin.addr.as_bytes())
            && self.laddr.is_none_or(|laddr| laddr == origin.laddr.as_bytes())
            && self.max_age.is_none_or(|max_age| age >= max_age)
            && !(self.skips_asker && is_asker)
            && card.with_facts(has_facts)
    }
}

const NOT_AN_AGE: &[u8] = b"ERR maxage is not an integer or out of range";

fn syntax_error() -> Vec<u8> {
    b"ERR syntax error".to_vec()
}

fn yes_or_no(word: &[u8]) -> Option<bool> {
    if is_word(word, b"yes") {
        Some(true)
    } else if is_word(word, b"no") {
        Some(false)
    } else {
        None
    }
}
