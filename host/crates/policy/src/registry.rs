//! What is bound, what is loaded, and the making of generations from both. One generation is built
//! whole, then swapped; a change that would not work leaves the old one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::PathBuf,
    sync::Arc,
};

use sluicegate_core::policy::Binding;

use crate::{
    cache::Cache,
    chain::Chain,
    files::{self, Entry, Stamp},
    fixtures,
    host::{Generation, Shared, TargetBindings},
    link::{Code, Link, Matcher, settings_text},
    module::{Module, Shipped},
    status::Report,
    voice::Voice,
};

/// A binding that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The target's name.
    pub target: String,
    /// Which of the target's bindings, from 0.
    pub index: usize,
    /// The module's name.
    pub module: String,
    /// Why, with the policy's own words where it refused its settings.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {} of target {} cannot be put in force: {}", self.module, self.target, self.reason)
    }
}

/// A voice outlives generations, so it is known by its place in the configuration: target, module,
/// and which of several bindings of that module.
type Place = (String, String, usize);

/// The bindings and the modules. One thread at a time changes them.
pub(crate) struct Registry {
    dir: PathBuf,
    cache: Option<Cache>,
    shared: Arc<Shared>,
    targets: HashMap<String, TargetBindings>,
    modules: BTreeMap<String, Entry>,
    voices: HashMap<Place, Arc<Voice>>,
    applied: bool,
}

/// Chains and what does not work in them.
struct Draft {
    chains: HashMap<String, Arc<Chain>>,
    voices: HashMap<Place, Arc<Voice>>,
    problems: Vec<Problem>,
}

impl Registry {
    pub(crate) fn new(dir: PathBuf, cache: Option<Cache>, shared: Arc<Shared>) -> Self {
        let (targets, modules, voices) = Default::default();
        Self { dir, cache, shared, targets, modules, voices, applied: false }
    }

    /// Puts bindings in force, or returns what new would not work.
    pub(crate) fn apply(&mut self, targets: HashMap<String, TargetBindings>) -> Result<(), Vec<Problem>> {
        let modules = self.with_loaded(&targets);
        let mut draft = self.draft(&targets, &modules);
        if self.applied {
            draft.problems.retain(|problem| !self.is_known(problem, &targets));
            if !draft.problems.is_empty() {
                return Err(draft.problems);
            }
        }
        for problem in &draft.problems {
            tracing::error!(
                target_name = problem.target,
                policy = problem.module,
                reason = problem.reason,
                "a policy is not in force, so its target's commands are blocked"
            );
        }
        self.targets = targets;
        self.modules = modules;
        self.applied = true;
        self.publish(draft);
        Ok(())
    }

    /// What would not work.
    pub(crate) fn check(&self, targets: &HashMap<String, TargetBindings>) -> Vec<Problem> {
        let mut problems = self.draft(targets, &self.with_loaded(targets)).problems;
        problems.sort_by(|a, b| (&a.target, a.index).cmp(&(&b.target, b.index)));
        problems
    }

    /// Looks at the files of all bound modules and takes what changed. With `every` it reads each
    /// file; otherwise those that look different from outside.
    pub(crate) fn rescan(&mut self, every: bool) {
        let names: Vec<String> = self.modules.keys().cloned().collect();
        let (mut looked, mut changed) = (false, false);
        for name in names {
            let stamp = self.stamp(&name);
            let Some(mut entry) = self.modules.get(&name).cloned() else { continue };
            if every || entry.stamp != stamp {
                entry.stamp = stamp;
                looked = true;
                changed |= self.look(&name, &mut entry);
                self.modules.insert(name, entry);
            }
        }
        if changed {
            let draft = self.draft(&self.targets, &self.modules);
            self.publish(draft);
        } else if looked {
            self.report();
        }
    }

    fn stamp(&self, name: &str) -> Option<Stamp> {
        files::stamp(&self.dir, name)
    }

    fn look(&self, name: &str, entry: &mut Entry) -> bool {
        let runtime = &self.shared.runtime;
        let before = entry.rejected.clone();
        let changed = entry.look(&self.dir, name, |shipped, replaces| {
            let Shipped { bytes, digest, fixtures } = shipped;
            let module = runtime.load(name, bytes, digest, self.cache.as_ref()).map_err(|error| error.to_string())?;
            if replaces {
                self.try_everywhere(name, &module)?;
            }
            if let Some(fixtures) = fixtures {
                fixtures::run(runtime, name, &module, fixtures).map_err(|error| error.to_string())?;
            }
            Ok(module)
        });
        if entry.rejected.is_some() && entry.rejected != before {
            self.shared.metrics.rejected(name);
        }
        changed
    }

    /// Tries a new version with the settings of every binding of the module.
    fn try_everywhere(&self, name: &str, module: &Module) -> Result<(), String> {
        for (target, bound) in &self.targets {
            for binding in bound.bindings.iter().filter(|b| b.module == name) {
                let tried = self.shared.runtime.try_settings(name, module, &settings_text(binding));
                tried.map_err(|error| format!("with the settings of target {target}: {error}"))?;
            }
        }
        Ok(())
    }

    /// The modules that the targets bind. Those of which no version is in force are read from the
    /// folder.
    fn with_loaded(&self, targets: &HashMap<String, TargetBindings>) -> BTreeMap<String, Entry> {
        let names: BTreeSet<&String> = targets.values().flat_map(|t| &t.bindings).map(|b| &b.module).collect();
        let load = |name: &String| {
            let mut entry = self.modules.get(name).cloned().unwrap_or_default();
            if entry.active.is_none() {
                entry.stamp = self.stamp(name);
                self.look(name, &mut entry);
            }
            entry
        };
        names.into_iter().map(|name| (name.clone(), load(name))).collect()
    }

    /// Builds chains. What has not changed is taken over from the generation in force, so that its
    /// instances, failures and counters live on.
    fn draft(&self, targets: &HashMap<String, TargetBindings>, modules: &BTreeMap<String, Entry>) -> Draft {
        let now = self.shared.generation.load();
        let mut draft = Draft { chains: HashMap::new(), voices: HashMap::new(), problems: Vec::new() };
        for (target, bound) in targets {
            let before = now.chains.get(target).filter(|chain| chain.protocol == bound.protocol);
            let mut links = Vec::with_capacity(bound.bindings.len());
            for (index, binding) in bound.bindings.iter().enumerate() {
                let occurrence = bound.bindings.iter().take(index).filter(|b| b.module == binding.module).count();
                let place = (target.clone(), binding.module.clone(), occurrence);
                let voice = self.voices.get(&place).cloned();
                let voice =
                    voice.unwrap_or_else(|| Arc::new(Voice::counted(target, &binding.module, &self.shared.metrics)));
                draft.voices.insert(place, Arc::clone(&voice));
                let link = self.link(binding, &bound.protocol, modules, before, voice);
                if let Code::Broken(reason) = &link.code {
                    let (target, module, reason) = (target.clone(), binding.module.clone(), reason.clone());
                    draft.problems.push(Problem { target, index, module, reason });
                }
                links.push(link);
            }
            let chain = match before {
                Some(before) if same_links(&before.links, &links) => Arc::clone(before),
                _ => Arc::new(Chain { protocol: bound.protocol.clone(), links }),
            };
            draft.chains.insert(target.clone(), chain);
        }
        draft
    }

    fn link(
        &self,
        binding: &Binding,
        protocol: &str,
        modules: &BTreeMap<String, Entry>,
        before: Option<&Arc<Chain>>,
        voice: Arc<Voice>,
    ) -> Arc<Link> {
        let settings = settings_text(binding);
        let entry = modules.get(&binding.module);
        let code = match entry.and_then(|entry| entry.active.as_ref()) {
            Some(module) => Ok(module),
            None => Err(self.why_absent(&binding.module, entry)),
        };
        let old = before.into_iter().flat_map(|chain| &chain.links).find(|old| {
            *old.module_name == *binding.module
                && old.mode == binding.mode
                && old.settings == settings
                && Arc::ptr_eq(&old.voice, &voice)
                && match (&old.code, &code) {
                    (Code::Ready(old), Ok(new)) => Arc::ptr_eq(old, new),
                    (Code::Broken(old), Err(new)) => old == new,
                    _ => false,
                }
        });
        if let Some(old) = old {
            return Arc::clone(old);
        }
        let tried = code.and_then(|module| {
            let tried = self.shared.runtime.try_settings(&binding.module, module, &settings);
            tried.map(|interests| (module, interests)).map_err(|error| error.to_string())
        });
        Arc::new(match tried {
            Ok((module, interests)) => {
                Link::ready(binding, Matcher::new(&interests, protocol), Arc::clone(module), voice)
            }
            Err(reason) => Link::broken(binding, reason, voice),
        })
    }

    fn why_absent(&self, name: &str, entry: Option<&Entry>) -> String {
        match entry.and_then(|entry| entry.rejected.as_ref()) {
            Some(rejected) => rejected.reason.clone(),
            None => format!("there is no file {name}.wasm in {}", self.dir.display()),
        }
    }

    /// Whether a binding that does not work was in force before, just as broken.
    fn is_known(&self, problem: &Problem, targets: &HashMap<String, TargetBindings>) -> bool {
        let binding = targets.get(&problem.target).and_then(|t| t.bindings.get(problem.index));
        let now = self.shared.generation.load();
        let Some((binding, chain)) = binding.zip(now.chains.get(&problem.target)) else { return false };
        let settings = settings_text(binding);
        chain.links.iter().any(|link| {
            matches!(link.code, Code::Broken(_)) && *link.module_name == *problem.module && link.settings == settings
        })
    }

    fn publish(&mut self, draft: Draft) {
        let id = self.shared.generation.load().id + 1;
        self.voices = draft.voices;
        self.shared.generation.store(Arc::new(Generation { id, chains: draft.chains }));
        self.report();
        tracing::info!(generation = id, targets = self.targets.len(), "policies in force");
    }

    fn report(&self) {
        let generation = self.shared.generation.load();
        let reports = self.modules.iter().map(|(name, entry)| {
            let bound = generation.chains.iter().flat_map(|(target, chain)| {
                chain
                    .links
                    .iter()
                    .filter(|link| *link.module_name == **name)
                    .map(|link| (target.clone(), Arc::clone(link)))
            });
            let mut links: Vec<_> = bound.collect();
            links.sort_by(|a, b| a.0.cmp(&b.0));
            Report { base: entry.status(name, generation.id), links }
        });
        self.shared.reports.store(Arc::new(reports.collect()));
    }
}

fn same_links(before: &[Arc<Link>], now: &[Arc<Link>]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(a, b)| Arc::ptr_eq(a, b))
}
