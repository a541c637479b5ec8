/// The operations of a pass, in order.
///
/// Each is kept in a box of its own, and boxes are used again: a pass that runs the same operations as the last one, as
/// those of a training run do, allocates none.
final class Recording {
    private var boxes: [any OperationBox] = []
    /// Which part of the model each operation belongs to (``Tape/stage``).
    private var stages: [Int] = []
    private(set) var count = 0

    func append<Recorded: Operation>(_ operation: Recorded, stage: Int) {
        if count < stages.count { stages[count] = stage } else { stages.append(stage) }
        if count < boxes.count {
            if let box = boxes[count] as? Box<Recorded> {
                box.operation = operation
            } else {
                boxes[count] = Box(operation)
            }
        } else {
            boxes.append(Box(operation))
        }
        count += 1
    }

    func removeAll() { count = 0 }

    /// Calls `body` with each operation of `stage` or a later one, the last one first.
    func forEachReversed(from stage: Int, _ body: (any OperationBox) -> Void) {
        for index in (0..<count).reversed() where stages[index] >= stage { body(boxes[index]) }
    }
}

/// An operation of any kind.
protocol OperationBox: AnyObject {
    var output: Tensor { get }
    var ownsOutput: Bool { get }
    var name: StaticString { get }
    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass)
    func backward(shared: SharedCotangent, _ pass: BackwardPass) -> Bool
}

private final class Box<Recorded: Operation>: OperationBox {
    var operation: Recorded

    init(_ operation: Recorded) { self.operation = operation }

    var output: Tensor { operation.output }
    var ownsOutput: Bool { operation.ownsOutput }
    var name: StaticString { operation.name }

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) { operation.backward(dy, pass) }

    func backward(shared: SharedCotangent, _ pass: BackwardPass) -> Bool { operation.backward(shared: shared, pass) }
}
