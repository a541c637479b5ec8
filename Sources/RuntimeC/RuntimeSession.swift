import CRuntime
import FoundationEssentials
import Glibc
import PluginAPI
import PluginRuntime
import Synchronization

/// A session of a host that speaks C: a ``HookSession``, the order in which it may be called, and the memory behind what it
/// hands out. ``enter()`` lets one thread at a time in.
final class RuntimeSession: @unchecked Sendable {
    /// Where the conversation is.
    enum Phase: String {
        case opened = "nothing is planned yet (craft_runtime_plan)"
        case idle = "no step goes on (craft_runtime_begin)"
        case batches =
            "a step goes on and its micro-batches are not closed (craft_runtime_close_batch, craft_runtime_losses)"
        case closed = "the step's gradients are not combined yet (craft_runtime_combine)"
        case combined = "the step is combined and not ended (craft_runtime_finish)"
        case failed = "the step failed and is not ended (craft_runtime_abandon)"
    }

    let session: HookSession
    /// By position: objectives of the host itself.
    let hostObjectives: Set<String>
    private(set) var phase = Phase.opened
    private var facts = PlanFacts()
    private var tables: [BlockScope: BlockFacts] = [:]
    private var outcome: StepOutcome?
    /// [k]: what the step's combination decided; nil: every block's is 1.
    private var rates: [Double]?
    private var stop: StopRequest?
    private let isBusy = Atomic<Bool>(false)

    // What set and get need; see RuntimeSession+Values.swift.
    var known: [KnownName] = []
    var handles: [String: Int32] = [:]
    var lent: Set<Int> = []

    /// Texts and bytes that were handed out last.
    private var text: UnsafeMutablePointer<CChar>?
    private var bytes: UnsafeMutableRawPointer?

    /// Throws ``PluginListError`` or ``CompositionError``.
    init(plugins: String, folders: [String], objectives: [String]) throws {
        for (index, objective) in objectives.enumerated() {
            guard NameRegistry.isName(objective) else {
                throw RuntimeProblem("'\(objective)' cannot name an objective; use letters, digits, '_' and '-'")
            }
            guard !objectives[..<index].contains(objective) else {
                throw RuntimeProblem("objective '\(objective)' is given twice")
            }
        }
        // The process is the host's, and its other threads may change what they like.
        ProcessState.watch(false)
        let composition = try Composition(
            PluginRequest.parseList(plugins), search: PluginSearch(paths: folders),
            registry: .training.giving(objectives: objectives))
        hostObjectives = Set(objectives)
        session = HookSession(composition, objectives: objectives + composition.objectives)
    }

    deinit {
        free(text)
        free(bytes)
        for name in known { name.dimensions?.deallocate() }
    }

    // MARK: - One thread at a time

    func enter() throws {
        guard isBusy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
            throw RuntimeProblem("another thread is using this session; use it from one thread at a time")
        }
        free(text)
        free(bytes)
        (text, bytes) = (nil, nil)
    }

    func leave() { isBusy.store(false, ordering: .releasing) }

    private func require(_ phases: Phase...) throws {
        guard phases.contains(phase) else { throw RuntimeProblem("it is not its turn: \(phase.rawValue)") }
    }

    /// Runs what belongs to a step; a step in which something failed can only be given up.
    private func inStep<Result>(_ body: () throws -> Result) throws -> Result {
        do { return try body() } catch {
            phase = .failed
            throw error
        }
    }

    // MARK: - Before the first step

    func setFact(_ name: String, _ value: Int64) throws {
        try require(.opened)
        func count(_ range: ClosedRange<Int64> = 0...1 << 53) throws -> Int {
            guard range.contains(value) else {
                throw RuntimeProblem("fact '\(name)' is \(value); expected \(range.lowerBound) to \(range.upperBound)")
            }
            return Int(value)
        }
        switch name {
        case "hidden_states": facts.hiddenStates = try count()
        case "hidden_size": facts.hiddenSize = try count()
        case "visual_tokens": facts.visualTokens = try count()
        case "cameras": facts.cameras = try count(0...64)
        case "queries": facts.queries = try count()
        case "batch": facts.batch = try count()
        case "steps": facts.steps = try count()
        case "seed": facts.seed = UInt64(bitPattern: value)
        default:
            throw RuntimeProblem(
                "there is no fact '\(name)'; there are hidden_states, hidden_size, visual_tokens, cameras, queries, batch, "
                    + "steps and seed")
        }
    }

    func setGroups(_ names: [String]) throws {
        try require(.opened)
        facts.groups = names
    }

    func setAbsent(_ name: String, _ reason: String) throws {
        try require(.opened)
        guard NameRegistry.training.match(name) != nil else { throw unknown(name) }
        facts.absent[name] = reason
    }

    func setBlocks(_ scope: BlockScope, _ table: BlockFacts) throws {
        try require(.opened)
        tables[scope] = table
    }

    func plan() throws {
        try require(.opened)
        let tables = tables
        facts.blocks = { scope in
            guard let table = tables[scope] else {
                let name = CodeTable.blockScope.values.first { $0.code == scope.rawValue }?.name ?? ""
                throw RuntimeProblem(
                    "blocks are to be those of scope '\(name)' (\(scope.rawValue)), for which no table was given; call "
                        + "craft_runtime_blocks for it before craft_runtime_plan")
            }
            return table
        }
        try session.plan(facts)
        phase = .idle
    }

    // MARK: - A step

    func begin(step: Int64, rate: Double) throws {
        try require(.idle)
        guard step >= 0 else { throw RuntimeProblem("step is \(step); expected 0 or more") }
        guard rate.isFinite else { throw RuntimeProblem("the learning rate is \(rate); expected a finite number") }
        session.begin(step: Int(step), rate: rate)
        rates = nil
        phase = .batches
    }

    func microBatch() throws {
        try require(.batches)
        try inStep { try session.microBatch() }
        // A loss is its own micro-batch's: the next may have none.
        for name in known where name.role == .loss { session.values.remove(name.name) }
    }

    /// The rows that take part.
    func closeBatch() throws -> [Int] {
        try require(.batches)
        guard session.microBatches > 0 else {
            throw RuntimeProblem(
                "the step had no micro-batch; call craft_runtime_micro_batch, or craft_runtime_losses instead")
        }
        phase = .closed
        return session.closeBatch()
    }

    func setLosses(_ losses: [Double?]) throws {
        try require(.batches)
        guard session.microBatches == 0 else {
            throw RuntimeProblem("the step had micro-batches, whose losses count; call craft_runtime_close_batch")
        }
        guard losses.count == session.objectives.count else { throw objectives(losses.count) }
        for (objective, loss) in zip(session.objectives, losses) {
            guard let loss else { continue }
            guard loss.isFinite else {
                throw RuntimeProblem("the loss of '\(objective)' is \(loss); a step without finite losses is abandoned")
            }
        }
        session.setLosses(losses)
        phase = .closed
    }

    private func objectives(_ count: Int) -> RuntimeProblem {
        RuntimeProblem(
            "count is \(count); the session has \(session.objectives.count) objectives: "
                + session.objectives.joined(separator: ", "))
    }

    /// [k, m]; nil when no objective takes part.
    func combine(_ table: craft_runtime_gradients, room: Int64) throws -> [Double]? {
        try require(.closed)
        let (k, m) = (session.blocks.count, session.present.count)
        guard table.blocks == k, table.rows == m else {
            throw RuntimeProblem(
                "gram has \(table.blocks) blocks of \(table.rows) rows; the session has \(k) blocks, and \(m) objectives "
                    + "take part in this step")
        }
        guard m > 0 else {
            let none = try inStep { try session.combine(GradientFacts(gram: [])) }
            phase = .combined
            return none?.weights
        }
        guard let gram = table.gram else { throw RuntimeProblem("gram is NULL") }
        guard room >= Int64(k * m) else {
            throw RuntimeProblem("there is room for \(room) weights; \(k) blocks of \(m) rows have \(k * m)")
        }
        let numbers = [Double](UnsafeBufferPointer(start: gram, count: k * m * m))
        if let bad = numbers.firstIndex(where: { !$0.isFinite }) {
            throw RuntimeProblem(
                "gram is \(numbers[bad]) in block \(bad / (m * m)) ('\(session.blocks.names[bad / (m * m)])'): a step whose "
                    + "gradients are not finite is abandoned")
        }
        let parameters = session.blocks.numel.reduce(0) { $0 + Int($1) }
        let coordinates = table.coordinates == 0 ? parameters : Int(table.coordinates)
        var facts = GradientFacts(gram: numbers, coordinates: coordinates)
        if let cross = table.gram_cross {
            let numbers = [Double](UnsafeBufferPointer(start: cross, count: k * m * m))
            guard numbers.allSatisfy(\.isFinite) else {
                throw RuntimeProblem("gram_cross is not finite: a step whose gradients are not finite is abandoned")
            }
            facts.gramCross = numbers
        }
        if session.composition.needs("grads") {
            guard let grads = table.grads else {
                throw RuntimeProblem("a plugin reads 'grads', the gradients in full, and grads is NULL")
            }
            let view = try Self.view(of: grads.pointee, as: .f32, rank: 2, "grads")
            guard view.shape == [m, coordinates] else {
                throw RuntimeProblem("grads has shape \(view.shape); expected [\(m), \(coordinates)]")
            }
            facts.grads = { view }
        }
        let combination = try inStep { try session.combine(facts) }
        rates = combination?.rates
        phase = .combined
        return combination?.weights
    }

    func finish() throws {
        try require(.combined)
        let outcome = try inStep { try session.finish() }
        (self.outcome, stop) = (outcome, outcome.stop)
        endStep()
    }

    func abandon() throws {
        try require(.batches, .closed, .combined, .failed)
        session.abandon()
        endStep()
    }

    /// Arrays were lent for the step.
    private func endStep() {
        for index in lent { session.values.remove(known[index].name) }
        lent.removeAll(keepingCapacity: true)
        phase = .idle
    }

    func multipliers(count: Int64) throws -> [Double] {
        guard count == Int64(session.objectives.count) else { throw objectives(Int(clamping: count)) }
        return session.multipliers
    }

    /// [k]; nil: no plugin gives any. Throws when the step is not combined.
    func blockRates(count: Int64) throws -> [Double]? {
        try require(.combined)
        return try ofBlocks(rates, count)
    }

    /// [k]; nil: no plugin gives any. Throws before the first finished step.
    func pull(count: Int64) throws -> [Double]? {
        guard let outcome else { throw RuntimeProblem("no step is finished yet") }
        return try ofBlocks(outcome.pull, count)
    }

    private func ofBlocks(_ values: [Double]?, _ count: Int64) throws -> [Double]? {
        guard count == Int64(session.blocks.count) else {
            throw RuntimeProblem("count is \(count); the session has \(session.blocks.count) blocks")
        }
        return values
    }

    // MARK: - Around the steps

    func evaluate(_ measures: [String: Double], steps: Int64) throws -> UnsafePointer<CChar> {
        try require(.idle)
        let told = try session.evaluate(try finite(measures), step: try stepCount(steps))
        stop = told.stop
        return try hand(told.metrics)
    }

    func end(_ measures: [String: Double], steps: Int64) throws {
        try require(.idle)
        try session.end(try finite(measures), step: try stepCount(steps))
    }

    private func stepCount(_ steps: Int64) throws -> Int {
        guard (0...1 << 53).contains(steps) else { throw RuntimeProblem("steps is \(steps); expected 0 or more") }
        return Int(steps)
    }

    private func finite(_ measures: [String: Double]) throws -> [String: Double] {
        if let bad = measures.sorted(by: { $0.key < $1.key }).first(where: { !$0.value.isFinite }) {
            throw RuntimeProblem("measure '\(bad.key)' is \(bad.value); leave out what could not be measured")
        }
        return measures
    }

    /// Why the run is to end; nil: it goes on.
    func stopReason() throws -> UnsafePointer<CChar>? { try stop.map { try hand(text: "\($0)") } }

    // MARK: - State

    func save() throws -> (bytes: UnsafeRawPointer, size: Int) {
        try require(.idle)
        let data = RuntimeState.encode(try session.save())
        guard let memory = malloc(max(data.count, 1)) else {
            throw RuntimeProblem("there is no memory for \(data.count) bytes")
        }
        memory.copyMemory(from: data, byteCount: data.count)
        bytes = memory
        return (UnsafeRawPointer(memory), data.count)
    }

    func load(_ bytes: UnsafeRawBufferPointer) throws {
        try require(.idle)
        try session.restore(try RuntimeState.decode(bytes))
    }

    // MARK: - Texts

    func describe() throws -> UnsafePointer<CChar> { try hand(Description(self)) }

    func metrics() throws -> UnsafePointer<CChar> {
        guard let outcome else { throw RuntimeProblem("no step is finished yet") }
        return try hand(outcome.metrics)
    }

    private func hand(_ value: some Encodable) throws -> UnsafePointer<CChar> {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try hand(text: String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    private func hand(text string: String) throws -> UnsafePointer<CChar> {
        guard let copy = strdup(string) else { throw RuntimeProblem("there is no memory for the text") }
        text = copy
        return UnsafePointer(copy)
    }
}
