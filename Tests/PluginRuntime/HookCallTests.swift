import PluginRuntime
import Testing

/// Calls through libffi and as frames: what the host puts in is what the function gets, and the other way round.
@Suite struct HookCallTests {
    let plugins: CPlugin

    init() throws { plugins = try CPlugin() }

    /// More arguments than there are registers, of every kind, mixed: `check` weighs each by its position.
    private static let everyKind = """
        #define IN(X) X(f64, a, "x", "") X(i64, b, "n", "") X(f64_array, m, "matrix", "[r,c]") \\
            X(optional_f64, c, "out.c", "") X(optional_i64, d, "count.d", "") X(f32_array, row, "row", "[c]") \\
            X(i64_array, ids, "ids", "[r]") X(optional_f64, e, "out.e", "") X(optional_f64_array, g, "like.g", "[r,z]")
        #define OUT(X) X(f64, sum, "out.sum", "") X(i64, whole, "count.whole", "") \\
            X(f64_array, copy, "like.matrix", "[r,c]") X(i64_array, list, "list.a", "[r]") \\
            X(optional_f64, some, "out.some", "") X(optional_f64_array, none, "like.g", "[r,z]") \\
            X(optional_i64, last, "count.last", "")
        CRAFT_HOOK(every, IN, OUT) {
            int64_t i;
            if (e || g || none || !(m->flags & CRAFT_ARRAY_READ_ONLY) || (copy->flags & CRAFT_ARRAY_READ_ONLY))
                return craft_fail(error, "absent is not NULL, or the flags are wrong");
            if (m->strides[0] != m->shape[1] || m->strides[1] != 1 || m->device_type != CRAFT_DEVICE_CPU || m->ndim != 2)
                return craft_fail(error, "not compact");
            if (craft_read_f32(m) || craft_read_i64(m) || !craft_read_f64(m)) return craft_fail(error, "wrong type");
            *sum = a + 10 * (double)b + (c ? 100 * *c : 0);
            *whole = d ? *d : -1;
            for (i = 0; i < craft_count(m); i++)
                craft_write_f64(copy)[i] = craft_read_f64(m)[i] + craft_read_f32(row)[i % row->shape[0]];
            for (i = 0; i < ids->shape[0]; i++) craft_write_i64(list)[i] = craft_read_i64(ids)[i] + 1;
            *some = 7;
            return CRAFT_OK;
        }
        """

    private static let registry = NameRegistry(
        NameRegistry.test.entries + [
            .init(
                "like.g", type: "f64[r,z]", readable: [.preBackward], producible: [.preBackward], provider: .host,
                doc: "Absent.")
        ])

    @Test func everyKindOfArgument() throws {
        try plugins.build(
            "Every", CPlugin.source(Self.everyKind, table: "CRAFT_HOOK_ENTRY(\"pre_backward\", every)"))
        let composition = try plugins.compose("Every", registry: Self.registry)
        let values = ValueStore()
        let matrix = TestArray<Double>([1, 2, 3, 4, 5, 6], shape: [2, 3])
        let row = TestArray<Float>([0.5, 0.25, 0.125], shape: [3])
        let ids = TestArray<Int64>([Int64.max - 1, -5], shape: [2])
        values.set("x", 3.5)
        values.set("n", Int64(-2))
        values.set("matrix", matrix.view)
        values.set("row", row.view)
        values.set("ids", ids.view)
        values.set("out.c", 2.0)
        values.set("count.d", Int64(1) << 40)
        values.set("count.last", Int64(5))
        try composition.run(.preBackward, values: values, step: 0)
        #expect(values.double("out.sum") == 3.5 - 20 + 200)
        #expect(values.integer("count.whole") == 1 << 40)
        #expect(values.array("like.matrix").map { Array($0.doubles) } == [1.5, 2.25, 3.125, 4.5, 5.25, 6.125])
        #expect(values.array("list.a").map { Array($0.integers) } == [.max, -4])
        #expect(values.double("out.some") == 7)
        // Not written, and there before: an optional result left out is absent, not stale.
        #expect(values.integer("count.last") == nil)
        #expect(values.array("like.g") == nil)

        // The result's memory is the same on the next call of the same shape.
        let before = values.array("like.matrix")?.pointer
        try composition.run(.preBackward, values: values, step: 1)
        #expect(values.array("like.matrix")?.pointer == before)
    }

    @Test func twentyFourArguments() throws {
        let inputs = (0..<23).map {
            $0 % 2 == 0 ? "X(f64, v\($0), \"out.v\($0)\", \"\")" : "X(i64, v\($0), \"count.v\($0)\", \"\")"
        }
        let sum = (0..<23).map { "\($0 + 1) * (double)v\($0)" }.joined(separator: " + ")
        let source = CPlugin.source(
            """
            #define IN(X) \(inputs.joined(separator: " "))
            #define OUT(X) X(f64, total, "out.total", "")
            CRAFT_HOOK(many, IN, OUT) { *total = \(sum); return CRAFT_OK; }
            """, table: "CRAFT_HOOK_ENTRY(\"post_step\", many)")
        let library = try PluginLibrary(path: plugins.build("Many", source))
        let instance = try PluginInstance(library: library, request: PluginRequest(name: "Many"))
        let values = ValueStore()
        var expected = 0.0
        for index in 0..<23 {
            let value = Double(index * index - 40)
            expected += Double(index + 1) * value
            if index % 2 == 0 {
                values.set("out.v\(index)", value)
            } else {
                values.set("count.v\(index)", Int64(value))
            }
        }
        try instance.run(.postStep, values: values, step: 0)
        #expect(values.double("out.total") == expected)
    }

    /// The same arguments as an array of slots.
    @Test func frameFormGetsTheSameArguments() throws {
        let source = """
            #include <craft_plugin.h>
            #define IN(X) X(f64, x, "x", "") X(optional_i64, n, "n", "") X(f32_array, row, "row", "[c]")
            #define OUT(X) X(f64, y, "out.y", "")
            CRAFT_HOOK(native, IN, OUT) {
                *y = x + (n ? (double)*n : 0) + craft_read_f32(row)[0];
                return CRAFT_OK;
            }
            static int32_t frame(void *self, void *context, const craft_slot *a, craft_error *error) {
                if (self || *(const int *)context != 42) return craft_fail(error, "wrong context");
                *a[3].f64_result = a[0].f64 + (a[1].optional_i64 ? (double)*a[1].optional_i64 : 0)
                    + craft_read_f32(a[2].array)[0];
                return CRAFT_OK;
            }
            static int answer = 42;
            static craft_hook hooks[] = {
            #ifdef FRAME
                {"pre_backward", native_signature, native_codes, 0, CRAFT_CALL_FRAME, 0, (craft_function)frame, &answer}
            #else
                CRAFT_HOOK_ENTRY("pre_backward", native)
            #endif
            };
            static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.forms", "1", "Forms.",
                CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
            const void *const keep[2] = {&answer, (const void *)&plugin};
            extern craft_frame_function keep_frame; craft_frame_function keep_frame = frame;
            extern int32_t (*keep_native)(void *, double, const int64_t *, const craft_array *, double *, craft_error *);
            int32_t (*keep_native)(void *, double, const int64_t *, const craft_array *, double *, craft_error *) = native;
            CRAFT_PLUGIN_ENTRY(plugin, hooks)
            """
        try plugins.build("Native", source)
        try plugins.build("Frame", "#define FRAME\n\(source)")
        let row = TestArray<Float>([0.5], shape: [1])
        for n in [nil, Int64(3)] {
            let results = try ["Native", "Frame"].map { name in
                let values = ValueStore()
                values.set("x", 1.25)
                if let n { values.set("n", n) }
                values.set("row", row.view)
                try plugins.compose(name).run(.preBackward, values: values, step: 0)
                return values.double("out.y")
            }
            #expect(results == [1.75 + Double(n ?? 0), 1.75 + Double(n ?? 0)])
        }
    }

    // MARK: - Failures

    private func failure(_ source: String, point: String = "pre_backward", set: (ValueStore) -> Void) throws
        -> PluginFailure
    {
        try plugins.build("Bad", CPlugin.source(source, table: "CRAFT_HOOK_ENTRY(\"\(point)\", bad)"))
        let composition = try plugins.compose("mine=Bad")
        let values = ValueStore()
        set(values)
        let error = try #require(throws: PluginFailure.self) {
            try composition.run(HookPoint(rawValue: point)!, values: values, step: 12)
        }
        #expect(error.plugin == "mine")
        #expect(error.step == 12)
        #expect(error.point.rawValue == point)
        return error
    }

    /// What is there after a hook that succeeds.
    private func results(_ source: String, set: (ValueStore) -> Void) throws -> ValueStore {
        try plugins.build("Good", CPlugin.source(source, table: "CRAFT_HOOK_ENTRY(\"pre_backward\", bad)"))
        let values = ValueStore()
        set(values)
        try plugins.compose("Good").run(.preBackward, values: values, step: 0)
        return values
    }

    private static let scalar = """
        #define IN(X) X(f64, x, "x", "")
        #define OUT(X) X(f64, y, "out.y", "")
        """

    @Test func returnedError() throws {
        let error = try failure(
            Self.scalar + "\nCRAFT_HOOK(bad, IN, OUT) { *y = 0; return craft_fail(error, \"x is %g, too large\", x); }"
        ) { $0.set("x", 5.0) }
        #expect(error.kind == .error)
        #expect(error.description == "plugin mine, pre_backward hook, step 12: x is 5, too large")
    }

    @Test func statusWithoutMessage() throws {
        let error = try failure(Self.scalar + "\nCRAFT_HOOK(bad, IN, OUT) { *y = x; return -3; }") { $0.set("x", 5.0) }
        #expect(error.message == "it failed with status -3 and no message")
    }

    @Test func messageLongerThanTheBuffer() throws {
        let error = try failure(
            Self.scalar + "\nCRAFT_HOOK(bad, IN, OUT) { *y = x; return craft_fail(error, \"%2000d\", 1); }"
        ) { $0.set("x", 5.0) }
        #expect(error.message.count == 1023)
    }

    @Test func messageWithoutEnd() throws {
        let error = try failure(
            Self.scalar + """

                CRAFT_HOOK(bad, IN, OUT) {
                    int i;
                    for (i = 0; i < CRAFT_MESSAGE_CAPACITY; i++) error->message[i] = 'm';
                    *y = x;
                    return 1;
                }
                """
        ) { $0.set("x", 5.0) }
        #expect(error.message == String(repeating: "m", count: 1024))
    }

    @Test(arguments: ["0.0 / zero", "1 / zero", "-1 / zero"])
    func scalarThatIsNotFinite(expression: String) throws {
        let error = try failure(
            Self.scalar
                + "\nCRAFT_HOOK(bad, IN, OUT) { volatile double zero = 0; (void)x; *y = \(expression); return 0; }"
        ) { $0.set("x", 5.0) }
        #expect(error.kind == .nonFinite("out.y"))
        #expect(error.message.contains("its result 'out.y' is"))
    }

    @Test func resultNotWritten() throws {
        let error = try failure(Self.scalar + "\nCRAFT_HOOK(bad, IN, OUT) { (void)y; (void)x; return 0; }") {
            $0.set("x", 5.0)
        }
        #expect(error.message == "it did not write its result 'out.y'")
    }

    private static let array = """
        #define IN(X) X(f64_array, m, "matrix", "[r,c]") X(f32_array, row, "row", "[c]")
        #define OUT(X) X(f64_array, y, "like.matrix", "[r,c]")
        CRAFT_HOOK(bad, IN, OUT) {
            int64_t i;
            (void)row;
            for (i = 0; i < craft_count(m) - 1; i++) craft_write_f64(y)[i] = craft_read_f64(m)[i];
            return CRAFT_OK;
        }
        """

    /// Result arrays are filled with a NaN that nothing computes: what still holds it was not written.
    @Test(
        arguments: [
            ("", "it did not write its result 'like.matrix'"),
            ("*y0 = 1;", "it wrote only a part of its result 'like.matrix': not element 1 of [2, 2]"),
            (
                "for (i = 0; i < 3; i++) y0[i] = 1;",
                "it wrote only a part of its result 'like.matrix': not element 3 of [2, 2]"
            ),
            (
                "for (i = 0; i < 4; i++) y0[i] = i == 2 ? 0.0 / 0.0 * x : 1;",
                "its result 'like.matrix' is not finite at element 2 of [2, 2]"
            ),
        ], [false, true]) func arrayElementsNotWritten(_ write: (String, String), isOptional: Bool) throws
    {
        let matrix = TestArray<Double>([1, 2, 3, 4], shape: [2, 2])
        let kind = isOptional ? "optional_f64_array" : "f64_array"
        let source = """
            #define IN(X) X(f64_array, m, "matrix", "[r,c]")
            #define OUT(X) X(\(kind), y, "like.matrix", "[r,c]")
            CRAFT_HOOK(bad, IN, OUT) {
                double *y0 = craft_write_f64(y), x = *craft_read_f64(m);
                int i = 0;
                (void)y0; (void)x; (void)i;
                \(write.0)
                return CRAFT_OK;
            }
            """
        if isOptional, write.0.isEmpty {
            let values = try results(source) { $0.set("matrix", matrix.view) }
            #expect(values.array("like.matrix") == nil)
            return
        }
        let error = try failure(source) { $0.set("matrix", matrix.view) }
        #expect(error.kind == (write.1.contains("not finite") ? .nonFinite("like.matrix") : .error))
        #expect(error.message == write.1)
    }

    /// Integers have no value to spare: an optional array counts as left out when the plugin never asked where to write it.
    @Test(arguments: [
        ("(void)list;", false), ("(void)craft_write_i64(list);", true), ("craft_write_i64(list)[1] = 0;", true),
    ])
    func optionalIntegersNotWritten(_ body: String, _ isGiven: Bool) throws {
        let ids = TestArray<Int64>([1, 2], shape: [2])
        let values = try results(
            """
            #define IN(X) X(i64_array, ids, "ids", "[r]")
            #define OUT(X) X(optional_i64_array, list, "list.a", "[r]")
            CRAFT_HOOK(bad, IN, OUT) { (void)ids; \(body) return CRAFT_OK; }
            """
        ) { $0.set("ids", ids.view) }
        #expect(values.array("list.a")?.integers.map { $0 } == (isGiven ? [0, 0] : nil))
    }

    /// An optional integer that is given as 0 is given.
    @Test(arguments: [("", Int64?.none), ("*count = 0;", 0), ("*count = CRAFT_UNWRITTEN;", nil)])
    func optionalIntegers(_ body: String, _ expected: Int64?) throws {
        let values = try results(
            """
            #define OUT(X) X(optional_i64, count, "count.a", "")
            CRAFT_HOOK(bad, CRAFT_NONE, OUT) { \(body) return CRAFT_OK; }
            """
        ) { $0.set("count.a", Int64(7)) }
        #expect(values.integer("count.a") == expected)
    }

    @Test func sizesThatDisagree() throws {
        let matrix = TestArray<Double>([1, 2, 3, 4], shape: [2, 2])
        let row = TestArray<Float>([1, 2, 3], shape: [3])
        let error = try failure(Self.array) {
            $0.set("matrix", matrix.view)
            $0.set("row", row.view)
        }
        #expect(error.message == "axis 'c' is 2 in 'matrix' but 3 in 'row' (shape [3])")
    }

    @Test func fixedSizes() throws {
        let matrix = TestArray<Double>([1, 2, 3, 4], shape: [2, 2])
        let error = try failure(
            """
            #define IN(X) X(f64_array, m, "matrix", "[r,3]")
            CRAFT_HOOK(bad, IN, CRAFT_NONE) { return CRAFT_OK; }
            """
        ) { $0.set("matrix", matrix.view) }
        #expect(error.message == "its input 'matrix: f64[r,3]' must have 3 there, the array is [2, 2]")
    }

    @Test func hostWithoutTheValue() throws {
        let error = try failure(Self.scalar + "\nCRAFT_HOOK(bad, IN, OUT) { *y = x; return 0; }") { _ in }
        #expect(error.message == "the host has no value for its input 'x: f64'")
        let wrong = try failure(Self.scalar + "\nCRAFT_HOOK(bad, IN, OUT) { *y = x; return 0; }") {
            $0.set("x", Int64(1))
        }
        #expect(wrong.message == "its input 'x: f64' was given as i64")
    }

    /// A result shaped like another value has to have that value's shape.
    @Test func resultOfTheWrongShape() throws {
        let matrix = TestArray<Double>([1, 2, 3, 4, 5, 6], shape: [2, 3])
        let error = try failure(
            """
            #define IN(X) X(f64_array, m, "matrix", "[r,c]")
            #define OUT(X) X(f64_array, y, "like.matrix", "[c,r]")
            CRAFT_HOOK(bad, IN, OUT) { (void)m; (void)y; return CRAFT_OK; }
            """
        ) { $0.set("matrix", matrix.view) }
        #expect(error.message.contains("would have shape [3, 2], but 'matrix' has [2, 3]"))
    }

    @Test func emptyArrays() throws {
        let source = CPlugin.source(
            """
            #define IN(X) X(f64_array, m, "matrix", "[r,c]")
            #define OUT(X) X(f64_array, y, "like.matrix", "[r,c]") X(f64, n, "out.n", "")
            CRAFT_HOOK(empty, IN, OUT) { (void)y; *n = (double)craft_count(m); return CRAFT_OK; }
            """, table: "CRAFT_HOOK_ENTRY(\"pre_backward\", empty)")
        try plugins.build("Empty", source)
        let values = ValueStore()
        let matrix = TestArray<Double>([], shape: [0, 3])
        values.set("matrix", matrix.view)
        try plugins.compose("Empty").run(.preBackward, values: values, step: 0)
        #expect(values.double("out.n") == 0)
        #expect(values.array("like.matrix")?.shape == [0, 3])
    }
}
