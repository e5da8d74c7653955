//! May this request be carried out now? What the limits of a connection's tenant and user say, asked once per request.
//!
//! A [`Quota`] belongs to one worker and one binding (a listener's connections, or a user's), and holds the worker's own
//! part of each limit that applies: an [`Allowance`] of each rate, spare places of what may be in flight. The machine
//! asks it with a time that the shell has read; what became of the request stands in [`Quota::noted`] for the shell to
//! count.
//!
//! **Invariants**: a request is charged to all limits that concern it or, if one refuses it, to none; what is never
//! refused is charged all the same. A dry run lets everything pass and is charged as long as there is something, whatever
//! others say.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bitflags::bitflags;

use super::rescue;
use crate::command::{CommandSpec, Selection};
use crate::policy::allowance::Allowance;
use crate::policy::bucket::Refused;
use crate::policy::in_flight::Spares;
use crate::policy::tokens::Tokens as _;
use crate::tenant::limits::{Limit, Limits, Measure, OnExceed};

/// Commands that are never refused: they end something, or say who the client is and what it may take.
const ALWAYS: &str =
    "+auth +hello +quit +reset +discard +exec +unwatch +unsubscribe +punsubscribe +sunsubscribe +tenantry";

/// A quota, and when it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Budget<'q> {
    /// What there is.
    pub quota: &'q Quota,
    /// Nanoseconds of the limits' clock.
    pub now: u64,
    /// The request has been charged: it is asked about again.
    pub is_paid: bool,
}

/// One worker's part of the limits of a tenant or user, shared by the quotas that they apply to.
#[derive(Debug)]
pub struct Share {
    limits: Arc<Limits>,
    /// In step with the rates of `limits`.
    allowances: Box<[Allowance]>,
    /// The same: what each is about, beside what is held of it.
    subjects: Box<[Subject]>,
    spares: Spares,
}

/// What a rate is about.
#[derive(Debug)]
struct Subject {
    measure: Measure,
    /// `None`: all commands.
    class: Option<Selection>,
}

/// What all limits of a binding come to, on one worker.
#[derive(Debug)]
pub struct Quota {
    shares: Box<[Rc<Share>]>,
    /// What is never refused: who could not even leave would hold on to what it has.
    always: Selection,
    noted: Cell<Option<Noted>>,
    /// Places among the requests in flight that were taken since somebody asked.
    entered: Cell<u64>,
    counts: Counts,
}

bitflags! {
    /// What is counted besides the requests themselves, as far as any limit is about it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Counts: u8 {
        /// Bytes that are written to clients.
        const REPLIES = 1;
        /// Bytes of replies to classes of commands.
        const CLASSES = 1 << 1;
        /// Requests in flight.
        const IN_FLIGHT = 1 << 2;
    }
}

/// What became of a request that a limit had something against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Which kind of limit.
    pub limit: Limited,
    /// What was done.
    pub action: Action,
}

/// The kinds of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// A rate; whether it is a class's.
    Rate(Measure, bool),
    /// Requests in flight.
    InFlight,
}

/// What is done about a request beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was refused.
    Rejected,
    /// It waits for this many nanoseconds.
    Delayed(u64),
    /// It went through, and would not have.
    DryRun,
}

/// What a quota says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may go on.
    Now,
    /// It may go on in this many nanoseconds. It is paid for already.
    In(u64),
    /// It may not. The error that its client reads.
    Refused(Vec<u8>),
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Its command.
    pub spec: &'static CommandSpec,
    /// Its bytes.
    pub bytes: usize,
}

impl Asked {
    fn cost(self, measure: Measure) -> u64 {
        match measure {
            Measure::Requests => 1,
            Measure::RequestBytes => u64::try_from(self.bytes).unwrap_or(u64::MAX),
            // What is owed must have been paid; the reply itself is charged when it has come.
            Measure::ReplyBytes => 0,
        }
    }
}

/// A limit that refuses.
enum Exceeded<'s> {
    Rate(&'s Share, &'s Limit, Refused),
    InFlight(&'s Share, u64),
}

impl Share {
    /// A worker's part of these limits: nothing yet.
    pub fn new(limits: Arc<Limits>) -> Self {
        let allowances = limits.rates.iter().map(|_| Allowance::default()).collect();
        let subject = |limit: &Limit| Subject {
            measure: limit.measure,
            class: limit.class.as_ref().map(|class| class.commands.clone()),
        };
        let subjects = limits.rates.iter().map(subject).collect();
        Self { limits, allowances, subjects, spares: Spares::default() }
    }

    /// What is held of each rate that the request is about.
    #[inline]
    fn concerned(&self, asked: Asked) -> impl Iterator<Item = (&Subject, &Allowance)> {
        let both = self.subjects.iter().zip(&self.allowances);
        both.filter(move |(subject, _)| subject.class.as_ref().is_none_or(|class| class.has(asked.spec)))
    }

    /// Whether the worker's own part is enough for the request.
    #[inline]
    fn covers(&self, asked: Asked, now: u64) -> bool {
        let has = |(subject, held): (&Subject, &Allowance)| match subject.measure {
            Measure::ReplyBytes => held.is_settled(now),
            Measure::Requests | Measure::RequestBytes => held.has(asked.cost(subject.measure)),
        };
        self.concerned(asked).all(has) && (self.limits.in_flight.is_none() || self.spares.has())
    }

    fn rates(&self) -> impl DoubleEndedIterator<Item = (&Limit, &Allowance)> {
        self.limits.rates.iter().zip(&self.allowances)
    }

    /// Gives back what the worker holds and does not use.
    pub fn hand_in(&self) {
        self.rates().for_each(|(limit, allowance)| allowance.hand_in(&limit.grants));
        if let Some(ceiling) = &self.limits.in_flight {
            self.spares.hand_in(ceiling);
        }
    }
}

impl Quota {
    /// The quota of a binding on one worker.
    pub fn new(shares: Box<[Rc<Share>]>) -> Self {
        let has = |is: fn(&Limit) -> bool| shares.iter().any(|share| share.limits.rates.iter().any(is));
        let mut counts = Counts::empty();
        counts
            .set(Counts::REPLIES, has(|limit| limit.measure == Measure::ReplyBytes && limit.class.is_none()));
        counts
            .set(Counts::CLASSES, has(|limit| limit.measure == Measure::ReplyBytes && limit.class.is_some()));
        counts.set(Counts::IN_FLIGHT, shares.iter().any(|share| share.limits.in_flight.is_some()));
        Self {
            always: Selection::parse(Selection::NONE, ALWAYS).unwrap_or(Selection::NONE),
            noted: Cell::new(None),
            entered: Cell::new(0),
            shares,
            counts,
        }
    }

    /// Whether bytes that are written to clients are charged.
    pub fn charges_replies(&self) -> bool {
        self.counts.contains(Counts::REPLIES)
    }

    /// Whether the bytes of replies to this command are charged to its classes.
    pub fn charges_replies_to(&self, spec: &'static CommandSpec) -> bool {
        self.counts.contains(Counts::CLASSES)
            && self.rates().any(|(_, limit, _)| is_of_replies_to(limit, spec))
    }

    /// Whether it is counted how many requests are in flight.
    pub fn counts_in_flight(&self) -> bool {
        self.counts.contains(Counts::IN_FLIGHT)
    }

    /// The limits.
    pub fn limits(&self) -> impl Iterator<Item = &Arc<Limits>> {
        self.shares.iter().map(|share| &share.limits)
    }

    /// What became of the last request, if a limit had something against it. Tells it once.
    pub fn noted(&self) -> Option<Noted> {
        self.noted.take()
    }

    fn rates(&self) -> impl DoubleEndedIterator<Item = (&Share, &Limit, &Allowance)> {
        self.shares.iter().flat_map(|share| share.rates().map(move |(limit, held)| (&**share, limit, held)))
    }

    /// Spends the worker's own part if it is enough: then nobody has anything against the request, and nothing that
    /// workers share is looked at. `false`: nothing was spent, [`Quota::admit`] has to be asked.
    #[inline]
    pub fn covers(&self, asked: Asked, now: u64) -> bool {
        if !self.shares.iter().all(|share| share.covers(asked, now)) {
            return false;
        }
        for share in &self.shares {
            share.concerned(asked).for_each(|(subject, held)| held.spend(asked.cost(subject.measure)));
            if let Some(ceiling) = &share.limits.in_flight {
                share.spares.take(ceiling);
            }
        }
        if self.counts_in_flight() {
            self.entered.set(self.entered.get().saturating_add(1));
        }
        true
    }

    /// Asks for a request. `now`: nanoseconds of the limits' clock.
    pub fn admit(&self, asked: Asked, now: u64) -> Admission {
        if self.always.has(asked.spec) {
            self.charge(asked, now);
            return Admission::Now;
        }
        let (mut wait, mut number) = (0, 0_usize);
        for share in &self.shares {
            for (limit, allowance) in share.rates() {
                if limit.concerns(asked.spec)
                    && let Err(refused) = take((limit, allowance), asked, now)
                {
                    match self.beyond((share, limit, allowance), refused, asked, now) {
                        Ok(in_nanos) => wait = wait.max(in_nanos),
                        Err(exceeded) => return self.refuse(&exceeded, (number, wait > 0), asked),
                    }
                }
                number = number.saturating_add(1);
            }
        }
        if self.counts_in_flight()
            && let Some(exceeded) = self.enter()
        {
            return self.refuse(&exceeded, (usize::MAX, wait > 0), asked);
        }
        if wait > 0 { Admission::In(wait) } else { Admission::Now }
    }

    /// What is done about a rate that is exceeded: how long to wait, or why not.
    #[cold]
    fn beyond<'s>(
        &self,
        (share, limit, allowance): (&'s Share, &'s Limit, &Allowance),
        refused: Refused,
        asked: Asked,
        now: u64,
    ) -> Result<u64, Exceeded<'s>> {
        if share.limits.is_dry_run {
            self.note(Limited::of(limit), Action::DryRun);
            return Ok(0);
        }
        let OnExceed::Delay(max) = share.limits.on_exceed else {
            return Err(Exceeded::Rate(share, limit, refused));
        };
        let reserved = allowance.reserve(&limit.grants, now, asked.cost(limit.measure), max);
        let wait = reserved.map_err(|refused| Exceeded::Rate(share, limit, refused))?;
        self.note(Limited::of(limit), Action::Delayed(wait));
        Ok(wait)
    }

    /// Takes a place among the requests in flight, of each that counts them.
    fn enter(&self) -> Option<Exceeded<'_>> {
        for (number, share) in self.shares.iter().enumerate() {
            let Some(ceiling) = &share.limits.in_flight else { continue };
            if share.spares.take(ceiling) {
                continue;
            }
            if share.limits.is_dry_run {
                self.note(Limited::InFlight, Action::DryRun);
                ceiling.take_anyway();
                continue;
            }
            leave(self.shares.iter().take(number), 1);
            return Some(Exceeded::InFlight(share, ceiling.most()));
        }
        self.entered.set(self.entered.get().saturating_add(1));
        None
    }

    /// How many places among the requests in flight were taken since somebody asked.
    pub fn entered(&self) -> u64 {
        self.entered.take()
    }

    /// So many requests are no longer in flight.
    pub fn leave(&self, count: u64) {
        leave(self.shares.iter(), count);
    }

    /// Undoes what the first `charged` rates were charged, some of it perhaps ahead of time, and says why.
    #[cold]
    fn refuse(&self, exceeded: &Exceeded<'_>, (charged, is_ahead): (usize, bool), asked: Asked) -> Admission {
        for (share, limit, allowance) in self.rates().take(charged) {
            match asked.cost(limit.measure) {
                // A dry run may not have had what it was asked for.
                _ if share.limits.is_dry_run => {}
                cost if !limit.concerns(asked.spec) || cost == 0 => {}
                cost if is_ahead => limit.grants.give_back(cost),
                cost => allowance.put_back(&limit.grants, cost),
            }
        }
        let limit = match exceeded {
            Exceeded::Rate(_, limit, _) => Limited::of(limit),
            Exceeded::InFlight(..) => Limited::InFlight,
        };
        self.noted.set(Some(Noted { limit, action: Action::Rejected }));
        Admission::Refused(exceeded.told())
    }

    /// The first thing that a limit has against a request is what is counted.
    fn note(&self, limit: Limited, action: Action) {
        let noted = self.noted.take().unwrap_or(Noted { limit, action });
        self.noted.set(Some(noted));
    }

    /// Charges a request that is carried out in any case.
    fn charge(&self, asked: Asked, now: u64) {
        for (_, limit, allowance) in self.rates().filter(|(_, limit, _)| limit.concerns(asked.spec)) {
            let cost = asked.cost(limit.measure);
            // Nobody may make others pay for more than one request that cannot be refused.
            if cost > 0 && allowance.owes_for(&limit.grants, now) == 0 {
                allowance.charge(&limit.grants, now, cost);
            }
        }
    }

    /// Charges bytes that were written to a client, or found for it.
    pub fn charge_replies(&self, bytes: usize, now: u64) {
        self.charge_bytes(bytes, now, |limit| limit.class.is_none());
    }

    /// Charges the classes of a command with the bytes of a reply to it.
    pub fn charge_replies_to(&self, spec: &'static CommandSpec, bytes: usize, now: u64) {
        self.charge_bytes(bytes, now, |limit| limit.class.is_some() && limit.concerns(spec));
    }

    fn charge_bytes(&self, bytes: usize, now: u64, concerns: impl Fn(&Limit) -> bool) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        for (_, limit, _) in self.rates() {
            if limit.measure == Measure::ReplyBytes && concerns(limit) {
                limit.grants.charge(now, bytes);
            }
        }
    }
}

fn is_of_replies_to(limit: &Limit, spec: &'static CommandSpec) -> bool {
    limit.measure == Measure::ReplyBytes && limit.class.is_some() && limit.concerns(spec)
}

fn leave<'s>(shares: impl Iterator<Item = &'s Rc<Share>>, count: u64) {
    for share in shares {
        if let Some(ceiling) = &share.limits.in_flight {
            share.spares.give_back(ceiling, count);
        }
    }
}

fn take((limit, allowance): (&Limit, &Allowance), asked: Asked, now: u64) -> Result<(), Refused> {
    let bucket = &limit.grants;
    if limit.measure == Measure::ReplyBytes {
        return match allowance.owes_for(bucket, now) {
            0 => Ok(()),
            retry_in => Err(Refused { retry_in }),
        };
    }
    allowance.take(bucket, now, asked.cost(limit.measure))
}

impl Exceeded<'_> {
    /// The error that the client reads.
    fn told(&self) -> Vec<u8> {
        match self {
            Self::Rate(share, limit, refused) => {
                rescue::rate_limited(&share.limits.owner, limit, refused.retry_in)
            }
            Self::InFlight(share, most) => rescue::too_many_in_flight(&share.limits.owner, *most),
        }
    }
}

impl Limited {
    fn of(limit: &Limit) -> Self {
        Self::Rate(limit.measure, limit.class.is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::find;
    use crate::policy::bucket::Pace;
    use crate::tenant::limits::{ClassRules, LimitRules, Owner, Rate, Rates, Scope};
    use crate::tenant::prefix::TenantName;

    const MS: u64 = 1_000_000;
    const HOUR: u64 = 3600 * 1000 * MS;

    fn rate(rate: u64, per: u64, burst: u64) -> Rate {
        Rate { written: rate.to_string(), pace: Pace { rate, per, burst } }
    }

    /// So many, and then one an hour.
    fn hourly(burst: u64) -> Rate {
        rate(1, HOUR, burst)
    }

    fn rules(requests: Option<Rate>) -> LimitRules {
        LimitRules {
            rates: Rates { requests, ..Rates::default() },
            classes: Vec::new(),
            connections: None,
            in_flight: None,
            on_exceed: OnExceed::Reject,
            is_dry_run: false,
            scope: Scope::Process,
        }
    }

    /// The limits of tenant acme and, if there are any, of its user bob.
    fn limits(of_tenant: &LimitRules, of_bob: Option<&LimitRules>) -> Vec<Arc<Limits>> {
        let tenant = TenantName::parse("acme").expect("a name");
        let owner = |user: Option<&str>| Owner { tenant: tenant.clone(), user: user.map(str::to_owned) };
        let of_bob = of_bob.map(|rules| Arc::new(Limits::new(1, owner(Some("bob")), rules)));
        std::iter::once(Arc::new(Limits::new(0, owner(None), of_tenant))).chain(of_bob).collect()
    }

    fn quota(limits: &[Arc<Limits>]) -> Quota {
        Quota::new(limits.iter().map(|limits| Rc::new(Share::new(Arc::clone(limits)))).collect())
    }

    fn asked(name: &str, bytes: usize) -> Asked {
        Asked { spec: find(name).expect("in the table"), bytes }
    }

    /// What the quota says to requests of ten bytes.
    fn say(quota: &Quota, now: u64, names: &[&str]) -> Vec<String> {
        let told = |name: &&str| match quota.admit(asked(name, 10), now) {
            Admission::Now => "now".to_owned(),
            Admission::In(nanos) => format!("in {nanos}"),
            Admission::Refused(error) => String::from_utf8(error).expect("text"),
        };
        names.iter().map(told).collect()
    }

    #[test]
    fn what_a_user_is_refused_its_tenant_keeps() {
        let limits = limits(&rules(Some(hourly(5))), Some(&rules(Some(hourly(2)))));
        let (bob, others) = (quota(&limits), quota(&limits[..1]));
        let refused = "RATELIMITED user 'bob' of tenant 'acme' exceeded 1 requests/s; retry in 3600000 ms";
        assert_eq!(["now", "now", refused, refused].to_vec(), say(&bob, 0, &["GET"; 4]));
        let refused = "RATELIMITED tenant 'acme' exceeded 1 requests/s; retry in 3600000 ms";
        assert_eq!(["now", "now", "now", refused].to_vec(), say(&others, 0, &["GET"; 4]));
    }

    #[test]
    fn a_class_is_charged_by_its_commands_only() {
        let class = ClassRules {
            name: "writing".to_owned(),
            commands: Selection::of_class("write").expect("a category"),
            rates: Rates { request_bytes: Some(hourly(20)), ..Rates::default() },
        };
        let limits = limits(&LimitRules { classes: vec![class], ..rules(Some(hourly(6))) }, None);
        let quota = quota(&limits);
        let of_class = "RATELIMITED tenant 'acme' exceeded 1 writing request bytes/s; retry in 36000000 ms";
        let of_all = "RATELIMITED tenant 'acme' exceeded 1 requests/s; retry in 3600000 ms";
        let said = say(&quota, 0, &["SET", "GET", "SET", "SET", "GET", "GET", "GET", "GET"]);
        assert_eq!(["now", "now", "now", of_class, "now", "now", "now", of_all].to_vec(), said);
    }

    #[test]
    fn what_waits_has_been_charged_and_what_would_wait_too_long_has_not() {
        let delayed =
            LimitRules { on_exceed: OnExceed::Delay(20 * MS), ..rules(Some(rate(100, 1000 * MS, 1))) };
        let quota = quota(&limits(&delayed, None));
        let refused = "RATELIMITED tenant 'acme' exceeded 100 requests/s; retry in 30 ms";
        let waits = ["now".to_owned(), format!("in {}", 10 * MS), format!("in {}", 20 * MS)];
        assert_eq!([&waits[..], &[refused.to_owned()]].concat(), say(&quota, 0, &["GET"; 4]));
        assert_eq!([format!("in {}", 20 * MS)].to_vec(), say(&quota, 10 * MS, &["GET"]));
        assert_eq!(["now".to_owned()].to_vec(), say(&quota, 50 * MS, &["GET"]));
    }

    #[test]
    fn each_verdict_is_noted_once() {
        let quota = quota(&limits(
            &LimitRules { is_dry_run: true, in_flight: Some(1), ..rules(Some(hourly(1))) },
            None,
        ));
        let noted = |names: &[&str]| {
            let said = say(&quota, 0, names);
            (said.last().cloned().unwrap_or_default(), quota.noted(), quota.noted())
        };
        let dry_run = |limit| Some(Noted { limit, action: Action::DryRun });
        assert_eq!(("now".to_owned(), None, None), noted(&["GET"]));
        let of_rate = Limited::Rate(Measure::Requests, false);
        assert_eq!(("now".to_owned(), dry_run(of_rate), None), noted(&["GET"]));
        assert_eq!(("now".to_owned(), None, None), noted(&["EXEC"]));
    }

    #[test]
    fn a_dry_run_gets_nothing_back_that_it_has_not_given() {
        let dry_run = LimitRules { is_dry_run: true, ..rules(Some(hourly(1))) };
        let limits = limits(&dry_run, Some(&rules(Some(hourly(2)))));
        let bob = quota(&limits);
        let refused = "RATELIMITED user 'bob' of tenant 'acme' exceeded 1 requests/s; retry in 3600000 ms";
        assert_eq!(["now", "now", refused, refused].to_vec(), say(&bob, 0, &["GET"; 4]));
        assert_eq!((0, 0), (limits[0].rates[0].level(0).remaining, limits[1].rates[0].level(0).remaining));
    }

    #[test]
    fn what_is_owed_for_replies_is_paid_before_anything_else_is_done() {
        let rates = Rates { reply_bytes: Some(rate(1000, 1000 * MS, 100)), ..Rates::default() };
        let quota = quota(&limits(&LimitRules { rates, ..rules(None) }, None));
        assert!(quota.charges_replies());
        quota.charge_replies(100, 0);
        assert_eq!(["now"].to_vec(), say(&quota, 0, &["GET"]));
        quota.charge_replies(50, 0);
        let refused = "RATELIMITED tenant 'acme' exceeded 1000 reply bytes/s; retry in 50 ms";
        assert_eq!([refused, "now"].to_vec(), say(&quota, 0, &["GET", "EXEC"]));
        assert_eq!(["now"].to_vec(), say(&quota, 50 * MS, &["GET"]));
    }

    #[test]
    fn a_request_that_is_not_let_in_costs_nothing() {
        let limits = limits(&LimitRules { in_flight: Some(2), ..rules(Some(hourly(10))) }, None);
        let quota = quota(&limits);
        let refused = "RATELIMITED tenant 'acme' has 2 requests in flight, limit is 2";
        assert_eq!(
            ["now", "now", refused, refused, "now"].to_vec(),
            say(&quota, 0, &["GET", "GET", "GET", "GET", "EXEC"])
        );
        assert_eq!((2, 0), (quota.entered(), quota.entered()));
        assert_eq!(7, limits[0].rates[0].level(0).remaining);
        quota.leave(2);
        assert_eq!(["now", "now", refused].to_vec(), say(&quota, 0, &["GET"; 3]));
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Passes(u64),
        Asks(usize, usize),
        Leaves(usize),
        HandsIn(usize),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            1 => (0..5 * MS).prop_map(Event::Passes),
            8 => (0..4_usize, 1..60_usize).prop_map(|(who, bytes)| Event::Asks(who, bytes)),
            2 => (0..4_usize).prop_map(Event::Leaves),
            1 => (0..4_usize).prop_map(Event::HandsIn),
        ];
        proptest::collection::vec(event, 1..300)
    }

    proptest! {
        /// Two workers, on each of which connections of bob and of others ask.
        #[test]
        fn a_request_is_charged_to_all_limits_or_to_none(
            requests in (500..5_000_u64, 1..40_u64),
            bytes in (5_000..50_000_u64, 60..500_u64),
            of_bob in (100..5_000_u64, 1..40_u64),
            in_flight in 1..30_u64,
            events in events(),
        ) {
            let per_second = |(tokens, burst): (u64, u64)| Some(rate(tokens, 1000 * MS, burst));
            let rates = Rates { request_bytes: per_second(bytes), ..rules(per_second(requests)).rates };
            let of_tenant = LimitRules { rates, in_flight: Some(in_flight), ..rules(None) };
            let limits = limits(&of_tenant, Some(&rules(per_second(of_bob))));
            let shares: Vec<Vec<Rc<Share>>> =
                (0..2).map(|_| limits.iter().map(|limits| Rc::new(Share::new(Arc::clone(limits)))).collect()).collect();
            // Bob on both workers, then the others.
            let quotas: Vec<Quota> = [2, 2, 1, 1]
                .iter()
                .zip([0, 1, 0, 1])
                .map(|(count, worker)| Quota::new(shares[worker][..*count].iter().cloned().collect()))
                .collect();
            let (mut now, mut inside) = (0, [0; 4]);
            let (mut granted, mut granted_bytes, mut granted_bob) = (0, 0, 0);
            for event in events {
                match event {
                    Event::Passes(nanos) => now += nanos,
                    Event::Asks(who, bytes) => {
                        if quotas[who].admit(asked("GET", bytes), now) == Admission::Now {
                            granted += 1;
                            granted_bytes += bytes as u64;
                            granted_bob += u64::from(who < 2);
                            inside[who] += quotas[who].entered();
                        } else {
                            prop_assert!(quotas[who].noted().is_some() && quotas[who].entered() == 0);
                        }
                    }
                    Event::Leaves(who) => {
                        let one = u64::min(inside[who], 1);
                        inside[who] -= one;
                        quotas[who].leave(one);
                    }
                    Event::HandsIn(who) => shares[who % 2].iter().for_each(|share| share.hand_in()),
                }
                let most = |(tokens, burst): (u64, u64)| burst + tokens * now / (1000 * MS);
                prop_assert!(granted <= most(requests) && granted_bob <= most(of_bob));
                prop_assert!(granted_bytes <= most(bytes));
                prop_assert!(inside.iter().sum::<u64>() <= in_flight);
            }
        }
    }
}
