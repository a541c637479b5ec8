// swift-format-ignore-file: AlwaysUseLowerCamelCase

public import CRuntime
import Glibc
public import PluginAPI
import PluginRuntime

// The functions of craft_runtime.h. Nothing but pointers is handled here; RuntimeSession does the rest.

/// Runs `body`; an error becomes the thread's last one, named after the function.
private func attempt(_ function: String, _ body: () throws -> Int32) -> Int32 {
    do { return try body() } catch {
        LastError.set("\(function.prefix { $0 != "(" }): \(error)")
        return Int32(CRAFT_RUNTIME_FAILED)
    }
}

private let ok = Int32(CRAFT_RUNTIME_OK)
private let absent = Int32(CRAFT_RUNTIME_ABSENT)

/// The same with the session that the pointer stands for, alone.
private func with(
    _ pointer: OpaquePointer?, function: String = #function, _ body: (RuntimeSession) throws -> Int32
) -> Int32 {
    attempt(function) {
        let session = try SessionTable.session(pointer)
        try session.enter()
        defer { session.leave() }
        return try body(session)
    }
}

private func text(_ pointer: UnsafePointer<CChar>?, _ what: String) throws -> String {
    guard let pointer else { throw RuntimeProblem("\(what) is NULL") }
    return String(cString: pointer)
}

private func place<Value>(_ pointer: UnsafeMutablePointer<Value>?, _ what: String) throws -> UnsafeMutablePointer<Value>
{
    guard let pointer else { throw RuntimeProblem("\(what) is NULL: there is no place for the result") }
    return pointer
}

// MARK: - Opening

/// The library's version.
@c @implementation public func craft_runtime_version() -> UInt32 { CRAFT_RUNTIME_VERSION }

/// Why the last function that failed on this thread did.
@c @implementation public func craft_runtime_error() -> UnsafePointer<CChar>? { LastError.text }

/// Lets the last words of a process that a plugin ends name it.
@c @implementation public func craft_runtime_report_crashes() { CrashReport.install(advice: "", chains: true) }

/// Opens a list of plugins.
@c @implementation public func craft_runtime_open(
    _ plugins: UnsafePointer<CChar>?, _ folders: UnsafePointer<CChar>?, _ objectives: UnsafePointer<CChar>?
) -> OpaquePointer? {
    var opened: OpaquePointer?
    _ = attempt(#function) {
        func list(_ pointer: UnsafePointer<CChar>?, _ separator: Character) -> [String] {
            pointer.map { String(cString: $0).split(separator: separator).map(String.init) } ?? []
        }
        opened = SessionTable.add(
            try RuntimeSession(
                plugins: try text(plugins, "plugins"), folders: list(folders, ":"), objectives: list(objectives, ",")))
        return ok
    }
    return opened
}

/// Ends a session.
@c @implementation public func craft_runtime_close(_ session: OpaquePointer?) -> Int32 {
    guard let session else { return ok }
    return with(session) { _ in
        SessionTable.remove(session)
        return ok
    }
}

/// What a session is, as JSON.
@c @implementation public func craft_runtime_describe(
    _ session: OpaquePointer?, _ json: UnsafeMutablePointer<UnsafePointer<CChar>?>?
) -> Int32 {
    with(session) {
        try place(json, "json").pointee = try $0.describe()
        return ok
    }
}

// MARK: - Before the first step

/// Tells something known of the run.
@c @implementation public func craft_runtime_fact(
    _ session: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ value: Int64
) -> Int32 {
    with(session) {
        try $0.setFact(try text(name, "name"), value)
        return ok
    }
}

/// Tells who the blocks are for one scope.
@c @implementation public func craft_runtime_blocks(
    _ session: OpaquePointer?, _ scope: Int32, _ table: UnsafePointer<craft_runtime_block_table>?
) -> Int32 {
    with(session) {
        guard let scope = BlockScope(rawValue: Int64(scope)) else {
            throw RuntimeProblem("scope is \(scope); there are \(CodeTable.blockScope.valuesText)")
        }
        guard let table else { throw RuntimeProblem("table is NULL") }
        try $0.setBlocks(scope, try BlockFacts(reading: table))
        return ok
    }
}

/// Tells the parameter groups.
@c @implementation public func craft_runtime_groups(
    _ session: OpaquePointer?, _ names: UnsafePointer<UnsafePointer<CChar>?>?, _ count: Int64
) -> Int32 {
    with(session) {
        guard (0...1 << 20).contains(count) else { throw RuntimeProblem("count is \(count)") }
        guard let names else { throw RuntimeProblem("names is NULL") }
        try $0.setGroups(try (0..<Int(count)).map { try text(names[$0], "name \($0)") })
        return ok
    }
}

/// Tells what this host never has.
@c @implementation public func craft_runtime_absent(
    _ session: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ reason: UnsafePointer<CChar>?
) -> Int32 {
    with(session) {
        try $0.setAbsent(try text(name, "name"), try text(reason, "reason"))
        return ok
    }
}

/// Runs the plan hooks.
@c @implementation public func craft_runtime_plan(_ session: OpaquePointer?) -> Int32 {
    with(session) {
        try $0.plan()
        return ok
    }
}

// MARK: - Values

/// A handle for a name of the registry.
@c @implementation public func craft_runtime_name(
    _ session: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ handle: UnsafeMutablePointer<Int32>?
) -> Int32 {
    with(session) {
        let place = try place(handle, "handle")
        place.pointee = try $0.handle(of: try text(name, "name"))
        return ok
    }
}

/// Gives a number.
@c @implementation public func craft_runtime_set_f64(_ session: OpaquePointer?, _ handle: Int32, _ value: Double)
    -> Int32
{
    with(session) {
        try $0.set(handle, value)
        return ok
    }
}

/// Gives an integer.
@c @implementation public func craft_runtime_set_i64(_ session: OpaquePointer?, _ handle: Int32, _ value: Int64)
    -> Int32
{
    with(session) {
        try $0.set(handle, value)
        return ok
    }
}

/// Lends an array.
@c @implementation public func craft_runtime_set_array(
    _ session: OpaquePointer?, _ handle: Int32, _ array: UnsafePointer<craft_array>?
) -> Int32 {
    with(session) {
        try $0.set(handle, array?.pointee)
        return ok
    }
}

/// A number that hooks gave or the session keeps.
@c @implementation public func craft_runtime_get_f64(
    _ session: OpaquePointer?, _ handle: Int32, _ value: UnsafeMutablePointer<Double>?
) -> Int32 {
    with(session) { try hand(try $0.double(handle), value) }
}

/// An integer that hooks gave or the session keeps.
@c @implementation public func craft_runtime_get_i64(
    _ session: OpaquePointer?, _ handle: Int32, _ value: UnsafeMutablePointer<Int64>?
) -> Int32 {
    with(session) { try hand(try $0.integer(handle), value) }
}

/// An array that hooks gave or the session keeps.
@c @implementation public func craft_runtime_get_array(
    _ session: OpaquePointer?, _ handle: Int32, _ array: UnsafeMutablePointer<craft_array>?
) -> Int32 {
    with(session) { try hand(try $0.array(handle), array) }
}

private func nothing() -> Int32 {
    LastError.set("the value asked for does not exist at the moment")
    return absent
}

/// Numbers of an array whose place has room for all of them.
private func hand(_ values: [Double]?, _ pointer: UnsafeMutablePointer<Double>?) throws -> Int32 {
    let place = try place(pointer, "the place for the numbers")
    guard let values else { return nothing() }
    place.update(from: values, count: values.count)
    return ok
}

private func hand<Value>(_ value: Value?, _ pointer: UnsafeMutablePointer<Value>?) throws -> Int32 {
    let place = try place(pointer, "the last argument")
    guard let value else { return nothing() }
    place.pointee = value
    return ok
}

// MARK: - A step

/// Begins a step.
@c @implementation public func craft_runtime_begin(_ session: OpaquePointer?, _ step: Int64, _ rate: Double) -> Int32 {
    with(session) {
        try $0.begin(step: step, rate: rate)
        return ok
    }
}

/// Runs the pre_backward hooks.
@c @implementation public func craft_runtime_micro_batch(_ session: OpaquePointer?) -> Int32 {
    with(session) {
        try $0.microBatch()
        return ok
    }
}

/// Ends the micro-batches of a step.
@c @implementation public func craft_runtime_close_batch(
    _ session: OpaquePointer?, _ rows: UnsafeMutablePointer<Int64>?, _ count: UnsafeMutablePointer<Int64>?
) -> Int32 {
    with(session) {
        let count = try place(count, "count")
        let present = try $0.closeBatch()
        if let rows { for (index, row) in present.enumerated() { rows[index] = Int64(row) } }
        count.pointee = Int64(present.count)
        return ok
    }
}

/// Tells the losses of a host that computes all of them.
@c @implementation public func craft_runtime_losses(
    _ session: OpaquePointer?, _ losses: UnsafePointer<Double>?, _ present: UnsafePointer<UInt8>?, _ count: Int64
) -> Int32 {
    with(session) {
        guard let losses else { throw RuntimeProblem("losses is NULL") }
        let objectives = $0.session.objectives
        guard count == Int64(objectives.count) else {
            throw RuntimeProblem(
                "count is \(count); the session has \(objectives.count) objectives: \(objectives.joined(separator: ", "))"
            )
        }
        try $0.setLosses((0..<Int(count)).map { row in present?[row] == 0 ? nil : losses[row] })
        return ok
    }
}

/// Runs the gradient_combine hooks.
@c @implementation public func craft_runtime_combine(
    _ session: OpaquePointer?, _ gradients: UnsafePointer<craft_runtime_gradients>?,
    _ weights: UnsafeMutablePointer<Double>?,
    _ count: Int64
) -> Int32 {
    with(session) {
        let table: craft_runtime_gradients = try read(gradients, "gradients", least: 48)
        if table.rows > 0 { _ = try place(weights, "weights") }
        guard let result = try $0.combine(table, room: count), let weights else { return ok }
        weights.update(from: result, count: result.count)
        return ok
    }
}

/// The learning rates' factors that the step decided.
@c @implementation public func craft_runtime_rates(
    _ session: OpaquePointer?, _ rates: UnsafeMutablePointer<Double>?, _ count: Int64
) -> Int32 {
    with(session) { try hand(try $0.blockRates(count: count), rates) }
}

/// Runs the post_step hooks and ends the step.
@c @implementation public func craft_runtime_finish(_ session: OpaquePointer?) -> Int32 {
    with(session) {
        try $0.finish()
        return ok
    }
}

/// Ends a step of which nothing comes.
@c @implementation public func craft_runtime_abandon(_ session: OpaquePointer?) -> Int32 {
    with(session) {
        try $0.abandon()
        return ok
    }
}

/// What came of the last finished step, as JSON.
@c @implementation public func craft_runtime_metrics(
    _ session: OpaquePointer?, _ json: UnsafeMutablePointer<UnsafePointer<CChar>?>?
) -> Int32 {
    with(session) {
        try place(json, "json").pointee = try $0.metrics()
        return ok
    }
}

/// The multipliers that the next step uses.
@c @implementation public func craft_runtime_multipliers(
    _ session: OpaquePointer?, _ multipliers: UnsafeMutablePointer<Double>?, _ count: Int64
) -> Int32 {
    with(session) {
        let place = try place(multipliers, "multipliers")
        let values = try $0.multipliers(count: count)
        place.update(from: values, count: values.count)
        return ok
    }
}

/// The shares of the way back that the last finished step decided.
@c @implementation public func craft_runtime_pull(
    _ session: OpaquePointer?, _ pull: UnsafeMutablePointer<Double>?, _ count: Int64
) -> Int32 {
    with(session) { try hand(try $0.pull(count: count), pull) }
}

/// Why the run is to end.
@c @implementation public func craft_runtime_stop(
    _ session: OpaquePointer?, _ reason: UnsafeMutablePointer<UnsafePointer<CChar>?>?
) -> Int32 {
    with(session) {
        let place = try place(reason, "reason")
        guard let sentence = try $0.stopReason() else { return nothing() }
        place.pointee = sentence
        return ok
    }
}

// MARK: - Around the steps

/// Runs the evaluate hooks.
@c @implementation public func craft_runtime_evaluate(
    _ session: OpaquePointer?, _ steps: Int64, _ names: UnsafePointer<UnsafePointer<CChar>?>?,
    _ values: UnsafePointer<Double>?, _ count: Int64, _ json: UnsafeMutablePointer<UnsafePointer<CChar>?>?
) -> Int32 {
    with(session) {
        let metrics = try $0.evaluate(try measures(names, values, count), steps: steps)
        json?.pointee = metrics
        return ok
    }
}

/// Runs the finish hooks.
@c @implementation public func craft_runtime_end(
    _ session: OpaquePointer?, _ steps: Int64, _ names: UnsafePointer<UnsafePointer<CChar>?>?,
    _ values: UnsafePointer<Double>?, _ count: Int64
) -> Int32 {
    with(session) {
        try $0.end(try measures(names, values, count), steps: steps)
        return ok
    }
}

private func measures(
    _ names: UnsafePointer<UnsafePointer<CChar>?>?, _ values: UnsafePointer<Double>?, _ count: Int64
) throws -> [String: Double] {
    guard (0...1 << 20).contains(count) else { throw RuntimeProblem("count is \(count)") }
    guard count > 0 else { return [:] }
    guard let names, let values else { throw RuntimeProblem("count is \(count), and names or values is NULL") }
    var measures: [String: Double] = [:]
    for index in 0..<Int(count) { measures[try text(names[index], "name \(index)")] = values[index] }
    return measures
}

// MARK: - Passes over gradients

/// Inner products of gradients by block.
@c @implementation public func craft_runtime_gram(
    _ rows: UnsafePointer<UnsafePointer<Float>?>?, _ m: Int64, _ offsets: UnsafePointer<Int64>?, _ k: Int64,
    _ gram: UnsafeMutablePointer<Double>?
) -> Int32 {
    attempt(#function) {
        let pass = try GradientPass(rows, m, offsets, k)
        pass.gram(into: try place(gram, "gram"))
        return ok
    }
}

/// The sum of weights times gradients.
@c @implementation public func craft_runtime_weighted_sum(
    _ rows: UnsafePointer<UnsafePointer<Float>?>?, _ m: Int64, _ offsets: UnsafePointer<Int64>?, _ k: Int64,
    _ weights: UnsafePointer<Double>?, _ sum: UnsafeMutablePointer<Float>?
) -> Int32 {
    attempt(#function) {
        let pass = try GradientPass(rows, m, offsets, k)
        guard let weights else { throw RuntimeProblem("weights is NULL") }
        pass.weightedSum(weights, into: try place(sum, "sum"))
        return ok
    }
}

// MARK: - State

/// The state of a session as bytes.
@c @implementation public func craft_runtime_save(
    _ session: OpaquePointer?, _ bytes: UnsafeMutablePointer<UnsafeRawPointer?>?, _ size: UnsafeMutablePointer<UInt64>?
) -> Int32 {
    with(session) {
        let (bytes, size) = (try place(bytes, "bytes"), try place(size, "size"))
        let state = try $0.save()
        bytes.pointee = state.bytes
        size.pointee = UInt64(state.size)
        return ok
    }
}

/// Restores the state of a session.
@c @implementation public func craft_runtime_load(_ session: OpaquePointer?, _ bytes: UnsafeRawPointer?, _ size: UInt64)
    -> Int32
{
    with(session) {
        guard let bytes else { throw RuntimeProblem("bytes is NULL") }
        guard let count = Int(exactly: size) else { throw RuntimeProblem("size is \(size)") }
        try $0.load(UnsafeRawBufferPointer(start: bytes, count: count))
        return ok
    }
}

// MARK: - Structs

/// A struct of a caller that may have been compiled with another version of the header. `least`: bytes of the first version.
private func read<Table: BitwiseCopyable>(_ pointer: UnsafePointer<Table>?, _ what: String, least: Int) throws -> Table
{
    guard let pointer else { throw RuntimeProblem("\(what) is NULL") }
    let size = Int(UnsafeRawPointer(pointer).loadUnaligned(as: UInt32.self))
    guard size >= least else {
        throw RuntimeProblem(
            "\(what) says it has \(size) bytes, at least \(least) are needed; set struct_size to its sizeof")
    }
    return PluginTable.row(at: pointer, size: size)
}

extension BlockFacts {
    fileprivate init(reading pointer: UnsafePointer<craft_runtime_block_table>) throws {
        let table: craft_runtime_block_table = try read(pointer, "table", least: 64)
        guard (1...1 << 24).contains(table.count) else {
            throw RuntimeProblem("table has \(table.count) blocks; expected 1 to \(1 << 24)")
        }
        let count = Int(table.count)
        func numbers(_ pointer: UnsafePointer<Int64>?, _ width: Int = 1) -> [Int64]? {
            pointer.map { [Int64](UnsafeBufferPointer(start: $0, count: width * count)) }
        }
        guard let numel = numbers(table.numel) else { throw RuntimeProblem("the table's numel is NULL") }
        for (block, size) in numel.enumerated() where !(0...1 << 48).contains(size) {
            throw RuntimeProblem("block \(block) has numel \(size)")
        }
        self.init(numel: numel)
        if let pointers = table.names {
            names = try (0..<count).map { try text(pointers[$0], "the name of block \($0)") }
        }
        if let group = numbers(table.group) { self.group = group }
        if let layer = numbers(table.layer) { self.layer = layer }
        if let kind = numbers(table.kind) { self.kind = kind }
        if let shape = numbers(table.shape, 2) { self.shape = shape }
        for (what, codes, table) in [("group", group, CodeTable.blockGroup), ("kind", kind, CodeTable.blockKind)] {
            for (block, code) in codes.enumerated() where code != -1 && !table.contains(code) {
                throw RuntimeProblem("block \(block) has \(what) \(code); there are \(table.valuesText), and -1")
            }
        }
    }
}
