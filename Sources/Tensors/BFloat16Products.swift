internal import COneDNN
internal import Glibc
internal import Kernels

/// Matrix products of float32 operands rounded to bfloat16, multiplied exactly and summed in float32, by oneDNN.
///
/// Used by one ``Parallel`` at a time: operands are rounded on all threads, then each chunk of rows multiplies with
/// primitives of its own, oneDNN held to one thread. Memory is reused from product to product.
public final class BFloat16Products: @unchecked Sendable {
    /// A processor that cannot multiply bfloat16.
    public struct Unsupported: Error, CustomStringConvertible {
        public let description: String
    }

    // Chunks run at the same time but each touches its own cache alone; all else changes between products only.
    private var caches: [PrimitiveCache] = []
    private var left = RoundedBuffer()
    private var right = RoundedBuffer()

    /// - Throws: ``Unsupported`` where bfloat16 would only be emulated.
    public init() throws {
        guard Self.isSupported else {
            throw Unsupported(
                description:
                    "products in bf16 need a processor with AVX512_BF16, which this one has not; use float32, the default"
            )
        }
    }

    /// Whether this processor multiplies bfloat16.
    public static var isSupported: Bool {
        let needed = dnnl_cpu_isa_avx512_core_bf16.rawValue
        return dnnl_get_effective_cpu_isa().rawValue & needed == needed
    }

    /// Operands of one product, rounded; valid until the next is.
    struct Operands {
        fileprivate let caches: [PrimitiveCache]
        fileprivate let a: UnsafeMutablePointer<UInt16>
        fileprivate let b: UnsafeMutablePointer<UInt16>
        fileprivate let layouts: (a: Layout, b: Layout)
        fileprivate let strides: (a: Int, b: Int)
        fileprivate let n: Int
        fileprivate let k: Int

        /// Rows `rows` of the product into `c`, on the calling thread; false when oneDNN has no way to do it.
        func multiply(
            _ rows: Range<Int>, beta: Float, into c: UnsafeMutablePointer<Float>, ldc: Int, chunk: Int
        ) -> Bool {
            let shape = ProductShape(
                layoutA: layouts.a, layoutB: layouts.b, m: rows.count, n: n, k: k, lda: strides.a, ldb: strides.b,
                ldc: ldc, accumulates: beta != 0)
            let start = layouts.a == .normal ? a + rows.lowerBound * strides.a : a + rows.lowerBound
            return caches[chunk].run(shape, a: start, b: b, c: c)
        }
    }

    /// Rounds both operands; nil when the product is too small to gain, scaled, or not of whole matrices.
    func round(
        _ layoutA: Layout, _ layoutB: Layout, m: Int, n: Int, k: Int, alpha: Float,
        a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int, on parallel: Parallel
    ) -> Operands? {
        guard parallel.executes, alpha == 1, min(m, n, k) >= 16, m * n * k >= 1 << 20,
            lda == (layoutA == .normal ? k : m), ldb == (layoutB == .normal ? n : k)
        else { return nil }
        while caches.count < 2 * parallel.threads { caches.append(PrimitiveCache()) }
        left.fit(m * k)
        right.fit(k * n)
        let (a16, b16) = (left.base, right.base)
        parallel.ranges(m * k, grain: 1 << 15) { ck_f32_to_bf16(a + $0.lowerBound, $0.count, a16 + $0.lowerBound) }
        parallel.ranges(k * n, grain: 1 << 15) { ck_f32_to_bf16(b + $0.lowerBound, $0.count, b16 + $0.lowerBound) }
        return Operands(
            caches: caches, a: a16, b: b16, layouts: (layoutA, layoutB), strides: (lda, ldb), n: n, k: k)
    }

    /// 16-bit memory that grows and is kept.
    private struct RoundedBuffer {
        private(set) var base = UnsafeMutablePointer<UInt16>.allocate(capacity: 1)
        private var capacity = 1

        mutating func fit(_ count: Int) {
            guard count > capacity else { return }
            base.deallocate()
            base = .allocate(capacity: count)
            capacity = count
        }

        func free() { base.deallocate() }
    }

    deinit {
        left.free()
        right.free()
    }
}

/// What a primitive is made for.
private struct ProductShape: Hashable {
    var layoutA: Layout
    var layoutB: Layout
    var m: Int
    var n: Int
    var k: Int
    var lda: Int
    var ldb: Int
    var ldc: Int
    var accumulates: Bool
}

/// oneDNN's primitives by shape, for one thread at a time.
private final class PrimitiveCache {
    /// Shapes that are kept; prompts of many lengths would fill memory otherwise.
    private static let capacity = 1024
    private var primitives: [ProductShape: MatrixProduct?] = [:]
    private let engine: dnnl_engine_t?
    private let stream: dnnl_stream_t?

    init() {
        var engine: dnnl_engine_t?
        var stream: dnnl_stream_t?
        if dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success {
            dnnl_stream_create(&stream, engine, UInt32(dnnl_stream_default_flags.rawValue))
        }
        (self.engine, self.stream) = (engine, stream)
    }

    deinit {
        primitives.removeAll()
        if let stream { dnnl_stream_destroy(stream) }
        if let engine { dnnl_engine_destroy(engine) }
    }

    func run(
        _ shape: ProductShape, a: UnsafeMutablePointer<UInt16>, b: UnsafeMutablePointer<UInt16>,
        c: UnsafeMutablePointer<Float>
    ) -> Bool {
        OpenMP.holdToOneThread()
        guard let engine, let stream else { return false }
        if primitives[shape] == nil {
            if primitives.count >= Self.capacity { primitives.removeAll() }
            primitives[shape] = .some(MatrixProduct(shape, engine: engine))
        }
        guard let product = primitives[shape].flatMap({ $0 }) else { return false }
        return product.run(stream, a: a, b: b, c: c)
    }
}

/// One matmul primitive with its memory objects, whose addresses are set before each run.
private final class MatrixProduct {
    private let primitive: dnnl_primitive_t
    private var memories: [(argument: Int32, memory: dnnl_memory_t)] = []
    private var scratch: UnsafeMutableRawPointer?

    /// nil when oneDNN does not support the shape.
    init?(_ shape: ProductShape, engine: dnnl_engine_t) {
        func description(
            _ rows: Int, _ columns: Int, _ type: dnnl_data_type_t, rowStride: Int, columnStride: Int
        ) -> dnnl_memory_desc_t {
            var result = dnnl_memory_desc_t()
            dnnl_memory_desc_init_by_strides(
                &result, 2, [Int64(rows), Int64(columns)], type, [Int64(rowStride), Int64(columnStride)])
            return result
        }
        func operand(_ layout: Layout, _ rows: Int, _ columns: Int, stride: Int) -> dnnl_memory_desc_t {
            layout == .normal
                ? description(rows, columns, dnnl_bf16, rowStride: stride, columnStride: 1)
                : description(rows, columns, dnnl_bf16, rowStride: 1, columnStride: stride)
        }
        var source = operand(shape.layoutA, shape.m, shape.k, stride: shape.lda)
        var weights = operand(shape.layoutB, shape.k, shape.n, stride: shape.ldb)
        var target = description(shape.m, shape.n, dnnl_f32, rowStride: shape.ldc, columnStride: 1)

        var attributes: dnnl_primitive_attr_t?
        var additions: dnnl_post_ops_t?
        dnnl_primitive_attr_create(&attributes)
        dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user)
        dnnl_post_ops_create(&additions)
        if shape.accumulates { dnnl_post_ops_append_sum(additions, 1) }
        dnnl_primitive_attr_set_post_ops(attributes, additions)
        defer {
            dnnl_post_ops_destroy(additions)
            dnnl_primitive_attr_destroy(attributes)
        }

        var operation = dnnl_matmul_desc_t()
        var plan: dnnl_primitive_desc_t?
        var made: dnnl_primitive_t?
        guard dnnl_matmul_desc_init(&operation, &source, &weights, nil, &target) == dnnl_success,
            dnnl_primitive_desc_create(&plan, &operation, attributes, engine, nil) == dnnl_success
        else { return nil }
        defer { dnnl_primitive_desc_destroy(plan) }
        guard dnnl_primitive_create(&made, plan) == dnnl_success, let made else { return nil }
        primitive = made

        func add(_ argument: Int32, _ description: inout dnnl_memory_desc_t, _ address: UnsafeMutableRawPointer?) {
            var memory: dnnl_memory_t?
            if dnnl_memory_create(&memory, &description, engine, address) == dnnl_success, let memory {
                memories.append((argument, memory))
            }
        }
        add(DNNL_ARG_SRC_0, &source, nil)
        add(DNNL_ARG_WEIGHTS_0, &weights, nil)
        add(DNNL_ARG_DST_0, &target, nil)
        if let needed = dnnl_primitive_desc_query_md(plan, dnnl_query_scratchpad_md, 0) {
            var description = needed.pointee
            let bytes = dnnl_memory_desc_get_size(&description)
            scratch = UnsafeMutableRawPointer.allocate(byteCount: max(64, bytes), alignment: 64)
            add(DNNL_ARG_SCRATCHPAD, &description, scratch)
        }
    }

    func run(
        _ stream: dnnl_stream_t, a: UnsafeMutablePointer<UInt16>, b: UnsafeMutablePointer<UInt16>,
        c: UnsafeMutablePointer<Float>
    ) -> Bool {
        guard memories.count >= 3 else { return false }
        dnnl_memory_set_data_handle(memories[0].memory, a)
        dnnl_memory_set_data_handle(memories[1].memory, b)
        dnnl_memory_set_data_handle(memories[2].memory, c)
        var arguments = memories.map { dnnl_exec_arg_t(arg: $0.argument, memory: $0.memory) }
        return dnnl_primitive_execute(primitive, stream, Int32(arguments.count), &arguments) == dnnl_success
    }

    deinit {
        for (_, memory) in memories { dnnl_memory_destroy(memory) }
        dnnl_primitive_destroy(primitive)
        scratch?.deallocate()
    }
}

/// oneDNN's own threads.
private enum OpenMP {
    // Debian's oneDNN runs on GNU OpenMP, whose headers are the compiler's; its thread count is one per calling thread.
    private static let setThreads: (@convention(c) (Int32) -> Void)? = {
        guard let symbol = dlsym(UnsafeMutableRawPointer(bitPattern: 0), "omp_set_num_threads") else { return nil }
        return unsafeBitCast(symbol, to: (@convention(c) (Int32) -> Void).self)
    }()

    /// A second pool inside ours would spin against it.
    static func holdToOneThread() { setThreads?(1) }
}
