import PluginRuntime
import Testing

@Suite struct SignatureTests {
    @Test func inputsAndResults() throws {
        let signature = try Signature(
            parsing: "gram: f64[k,m,m],lambda.{objective} : f64 ?, n: i64, old@prev: f64? -> weights: f64[k,m], ")
        #expect(
            signature.description
                == "gram: f64[k,m,m], lambda.{objective}: f64?, n: i64, old@prev: f64? -> weights: f64[k,m]")
        #expect(signature.codes == "ADlDZ")
        #expect(signature.inputs[0].type == ValueType(element: .f64, axes: ["k", "m", "m"]))
    }

    @Test func eitherSideMayBeEmpty() throws {
        #expect(try Signature(parsing: "-> a: i64").codes == "y")
        #expect(try Signature(parsing: "a: i64? ->").codes == "L")
        #expect(try Signature(parsing: "->").description == "->")
    }

    @Test(arguments: [
        ("a: f64", "no '->'"), ("a: f64 -> b: f64 -> c: f64", "more than one '->'"), ("a -> b: f64", "has no type"),
        ("a: f32 -> b: f64", "a scalar cannot be f32"), ("a: float -> b: f64", "'float' is not a type"),
        ("a: f64[] -> b: f64", "an axis is a name or a size"), ("a: f64[x -> b: f64", "']'"),
        ("a: bool[x] -> b: f64", "array elements"), ("a!: f64 ->", "'!' is not allowed"),
        ("a..b: f64 ->", "a segment is empty"), ("{a: f64 ->", "closing '}'"),
        ("{}: f64 ->", "does not name a setting"),
        ("{a}{b}: f64 ->", "put a '.'"), ("a: f64, a: f64 ->", "listed twice"),
        ("-> a: f64[x]", "not an axis of any input"),
        ("a: f64[x]? -> b: f64[x]", "optional inputs only"), ("a@prev: f64 ->", "must be optional"),
        ("-> a@prev: f64?", "cannot carry '@prev'"), (", -> a: f64", "has no type"),
        ("a: f64[1,2,3,4,5,6,7,8,9] ->", "at most 8"),
    ])
    func unreadable(text: String, words: String) throws {
        let error = try #require(throws: SignatureError.self) { try Signature(parsing: text) }
        #expect(error.description.contains(words), "\(error)")
    }

    @Test func arityIsLimited() throws {
        let items = (0..<24).map { "a\($0): f64" }.joined(separator: ", ")
        #expect(try Signature(parsing: "\(items) ->").inputs.count == 24)
        let error = try #require(throws: SignatureError.self) { try Signature(parsing: "\(items) -> b: f64") }
        #expect(error.description.contains("25 inputs and results, at most 24"))
    }
}

@Suite struct NameRegistryTests {
    @Test func placeholdersTakeWholeSegments() throws {
        let template = try NameTemplate(parsing: "cotangent.{objective}.{target}")
        #expect(
            template.matches("cotangent.action.feature.query") == [
                ["objective": "action", "target": "feature.query"],
                ["objective": "action.feature", "target": "query"],
            ])
        #expect(template.matches("cotangent.action").isEmpty)
        #expect(template.matches("cotangent..action").isEmpty)
        #expect(try NameTemplate(parsing: "weights").matches("weights2").isEmpty)
        #expect(try NameTemplate(parsing: "tap.{id}.layer").matches("tap.a.b.layer") == [["id": "a.b"]])
        #expect(template.filled(with: ["objective": "a", "target": "b"]) == "cotangent.a.b")
        #expect(template.filled(with: ["objective": "a"]) == nil)
    }

    @Test func typeOfATarget() throws {
        let match = try #require(NameRegistry.test.match("like.matrix"))
        #expect(match.type == ValueType(element: .f64, axes: ["r", "c"]))
        #expect(NameRegistry.test.match("like.unknown") == nil)
        #expect(NameRegistry.test.match("out.") == nil)
        #expect(NameRegistry.test.match("out.deep.name")?.captures == ["name": "deep.name"])
    }
}
