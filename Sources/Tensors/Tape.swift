internal import Kernels

/// A matrix of float32 values, [rows, columns], row major, in the memory of the ``Tape`` that made it.
package struct Tensor: BitwiseCopyable {
    /// Index among the tape's tensors.
    package let id: Int
    package let rows: Int
    package let columns: Int
    package let values: UnsafeMutablePointer<Float>
    /// Whether a backward pass may send a cotangent here.
    package let needsGradient: Bool

    package var count: Int { rows * columns }
}

/// One recorded operation: what its backward pass needs. docs/ENGINE.md says what every operation has to keep to.
protocol Operation {
    var output: Tensor { get }
    /// Whether `output` was made by this operation (true) or changed in place (false: its cotangent lives on).
    var ownsOutput: Bool { get }
    /// As a profile shows it.
    var name: StaticString { get }
    /// Sends `dy`, the cotangent of `output`, to the inputs and parameters.
    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass)
    /// The same for a cotangent that ranges of rows share; false when the operation wants it row by row.
    func backward(shared: SharedCotangent, _ pass: BackwardPass) -> Bool
}

extension Operation {
    var ownsOutput: Bool { true }
    func backward(shared: SharedCotangent, _ pass: BackwardPass) -> Bool { false }
}

/// A part of a model that turns one matrix into another of the same shape, such as a transformer block.
package protocol TapeSegment {
    /// Depends on `x` and the parameters alone.
    func callAsFunction(_ x: Tensor, on tape: Tape) -> Tensor
}

/// Runs operations and records what a backward pass needs.
///
/// Values live in an arena that ``reset(weights:recording:)`` reuses. After one forward pass any number of backward
/// passes may be run, each with its own cotangents; they read the same recorded values.
package final class Tape {
    /// What runs operations; another may take over between passes.
    package var parallel: Parallel
    let arena = Arena()
    /// Lists have pages of their own: among values that a dry run does not write they would make each one's page resident.
    let listArena = Arena()
    let pool = BufferPool()
    private var operations = Recording()
    /// Recordings of segments that were run again, for the next ones.
    private var spareRecordings: [Recording] = []
    private(set) var tensorCount = 0
    /// Values of every parameter for this forward pass, by id.
    package private(set) var weights: [WeightValues] = []
    /// Whether a backward pass can follow. Without it values are computed all the same.
    package private(set) var isRecording = true
    /// What passes leave out.
    package var shortcuts = Shortcuts.all
    /// Where the times of operations are kept; nil measures nothing.
    package var profile: OperationProfile?
    /// Whether operations are kept now: not in the forward pass of a segment that will be run again.
    private(set) var keepsOperations = true
    /// Whether segments (``segment(_:_:)``) keep only their input and are run again in backward passes.
    package var checkpointsSegments = false
    /// Which part of the model is running, in the order of the forward pass; a backward pass may end at one.
    package var stage = 0
    let parameters: ParameterSet
    private lazy var pass = BackwardPass(of: self)

    package init(parameters: ParameterSet, parallel: Parallel) {
        self.parameters = parameters
        self.parallel = parallel
    }

    /// Forgets the last forward pass and starts another.
    ///
    /// - `weights`: values of every parameter, by id; they must outlive the backward passes.
    package func reset(weights: [WeightValues], recording: Bool) {
        arena.reset()
        listArena.reset()
        operations.removeAll()
        stage = 0
        tensorCount = 0
        self.weights = weights
        isRecording = recording
        keepsOperations = recording
    }

    /// Bytes of memory taken so far for values and cotangents.
    package var bytes: Int { arena.usedBytes + listArena.usedBytes + pool.bytes }

    /// Float32 values of a parameter.
    func floats(_ id: Int) -> UnsafePointer<Float> {
        guard case .float32(let pointer) = weights[id] else {
            preconditionFailure("\(parameters[id].name) is kept in 16 bits, where float32 is needed")
        }
        return pointer
    }

    /// A tensor without history, with undefined values for the caller to fill.
    package func constant(rows: Int, columns: Int) -> Tensor {
        makeTensor(rows: rows, columns: columns, needsGradient: false)
    }

    /// Sends cotangents back through the recorded operations.
    ///
    /// - `seeds`: a cotangent per tensor, each with the tensor's count.
    /// - `scale`: factor applied to every seed, 1/K when K micro-batches make a step.
    /// - `gradients`: where parameter gradients are added.
    /// - `route`: which parameters get one.
    package func backward(
        seeds: [(tensor: Tensor, cotangent: UnsafePointer<Float>)], scale: Float, into gradients: GradientAccumulator,
        route: GradientRoute = .everywhere
    ) {
        precondition(isRecording, "a forward pass without recording has no backward pass")
        // What operations list for themselves on the way back is gone with the pass.
        let mark = listArena.mark()
        defer { listArena.rewind(to: mark) }
        pass.begin(into: gradients, route)
        for seed in seeds where seed.tensor.needsGradient {
            let (buffer, accumulate) = pass.gradient(of: seed.tensor)
            parallel.once {
                if accumulate {
                    ck_axpy(scale, seed.cotangent, seed.tensor.count, buffer)
                } else {
                    ck_scale(scale, seed.cotangent, seed.tensor.count, buffer)
                }
            }
        }
        pass.run(operations)
        pass.end()
    }

    /// Runs a part of the model.
    ///
    /// When ``checkpointsSegments`` is set, or nothing is recorded, all memory that `body` took but its result's is free
    /// again when it returns; a backward pass runs `body` once more (activation checkpointing, Chen et al. 2016).
    package func segment(_ x: Tensor, _ body: some TapeSegment) -> Tensor {
        if keepsOperations && !checkpointsSegments { return body(x, on: self) }
        let values = arena.allocate(x.count)
        let (mark, listMark) = (arena.mark(), listArena.mark())
        let kept = keepsOperations
        keepsOperations = false
        let result = body(x, on: self)
        keepsOperations = kept
        precondition(result.rows == x.rows && result.columns == x.columns, "a segment keeps the shape")
        parallel.ranges(result.count, grain: 65_536) { range in
            (values + range.lowerBound).update(from: result.values + range.lowerBound, count: range.count)
        }
        arena.rewind(to: mark)
        listArena.rewind(to: listMark)
        let y = Tensor(
            id: tensorCount, rows: x.rows, columns: x.columns, values: values, needsGradient: result.needsGradient)
        tensorCount += 1
        record(Segment(output: y, x: x, body: body))
        return y
    }

    /// Runs a segment again with its operations kept, and gives them to `then` before its memory is free again.
    fileprivate func replay(
        _ body: some TapeSegment, on x: Tensor, _ then: (_ leaf: Tensor, _ result: Tensor, Recording) -> Void
    ) {
        let (mark, listMark) = (arena.mark(), listArena.mark())
        let (outer, outerStage) = (operations, stage)
        operations = spareRecordings.popLast() ?? Recording()
        keepsOperations = true
        // A segment lies in one stage as a whole, and that one runs backwards or it would not be run again.
        stage = .max
        let leaf = Tensor(
            id: tensorCount, rows: x.rows, columns: x.columns, values: x.values, needsGradient: x.needsGradient)
        tensorCount += 1
        let result = body(leaf, on: self)
        let inner = operations
        (operations, stage) = (outer, outerStage)
        then(leaf, result, inner)
        inner.removeAll()
        spareRecordings.append(inner)
        arena.rewind(to: mark)
        listArena.rewind(to: listMark)
    }

    func makeTensor(rows: Int, columns: Int, needsGradient: Bool) -> Tensor {
        defer { tensorCount += 1 }
        return Tensor(
            id: tensorCount, rows: rows, columns: columns, values: arena.allocate(rows * columns),
            needsGradient: needsGradient && isRecording)
    }

    /// Runs a forward operation, and notes how long it took when there is a profile.
    @inline(__always)
    func measured<Result>(_ name: StaticString, _ body: () -> Result) -> Result {
        guard let profile else { return body() }
        let start = profile.now
        defer { profile.end(name.description, .forward, from: start) }
        return body()
    }

    func record(_ operation: some Operation) {
        if keepsOperations && operation.output.needsGradient { operations.append(operation, stage: stage) }
    }

    func isTrainable(_ id: Int?) -> Bool {
        guard let id else { return false }
        return parameters[id].isTrainable
    }
}

/// A part of the model that is run again when its cotangent is known.
private struct Segment<Body: TapeSegment>: Operation {
    let name: StaticString = "segment"
    let output: Tensor
    let x: Tensor
    let body: Body

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) { replay(pass) }

    /// The pass hands the cotangent of `output` over as it is, shared or not.
    func backward(shared: SharedCotangent, _ pass: BackwardPass) -> Bool {
        replay(pass)
        return true
    }

    private func replay(_ pass: BackwardPass) {
        pass.tape.replay(body, on: x) { leaf, result, operations in
            pass.makeRoom()
            pass.move(output, to: result)
            pass.run(operations)
            pass.pass(leaf, to: x)
            pass.release(leaf)
        }
    }
}
