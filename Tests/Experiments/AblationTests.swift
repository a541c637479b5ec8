import Experiments
import Foundation
import PluginRuntime
import Testing
import Training

/// What a grid expands to, and what its table says.
@Suite struct AblationTests {
    private func grid(_ combos: String) throws -> AblationGrid {
        AblationGrid(combinations: try AblationGrid.combinations(parsing: combos))
    }

    @Test func combinationsAreRead() throws {
        let rows = try grid("A; A+B:key=1; full = A,second=B:x=1\\+2").rows()
        #expect(rows.map(\.title) == ["A", "A+B:key=1", "full"])
        #expect(
            rows.map { $0.arguments[0] } == ["--plugins=A", "--plugins=A,B:key=1", "--plugins=A,second=B:x=1+2"])
        #expect(rows.allSatisfy { $0.steps == 200 && $0.arguments.contains("--steps=200") })
        #expect(Set(rows.map(\.folder)).count == 3)
    }

    @Test func settingsSweepsAndOverrides() throws {
        var grid = try grid("A; A+B")
        grid.flags = [.init("lr", "0.1"), .init("augment", "false", isSwitch: true), .init("B.other_key", "1")]
        grid.axes = [
            .init(values: [.init("batch_size", "2"), .init("batch_size", "4")]),
            .init(values: [.init("B.key", "x:y"), .init("B.key", "z")]),
        ]
        grid.overrides = [.init("steps", "7")]
        let rows = try grid.rows()
        #expect(
            rows.map(\.title) == [
                "A batch-size=2", "A batch-size=4", "A+B batch-size=2 B.key=x:y", "A+B batch-size=2 B.key=z",
                "A+B batch-size=4 B.key=x:y", "A+B batch-size=4 B.key=z",
            ])
        #expect(
            rows[2].arguments == [
                "--plugins=A,B:key=x\\:y:other_key=1", "--no-augment", "--batch-size=2", "--lr=0.1", "--steps=7",
            ])
        #expect(try PluginRequest.parseList("A,B:key=x\\:y")[1].settings["key"] == "x:y")
        // A row's folder depends on its own arguments only: adding to a grid reruns nothing.
        grid.combinations.append(try AblationGrid.combinations(parsing: "C")[0])
        #expect(try grid.rows().prefix(6) == rows[...])
    }

    @Test(arguments: [
        ("A;;B", "empty entry"), ("A; A", "the same row twice"), ("A; b = A", "the same row twice"),
        ("", "empty entry"),
        ("A+", "empty entry"), ("A:x", "is not a setting"),
    ])
    func badCombinations(combos: String, words: String) throws {
        let error = try #require(throws: (any Error).self) { try grid(combos).rows() }
        #expect("\(error)".contains(words), "\(error)")
    }

    @Test func badSettings() throws {
        func refusal(_ change: (inout AblationGrid) -> Void) throws -> String {
            var grid = try grid("A")
            change(&grid)
            return try "\(#require(throws: (any Error).self) { try grid.rows() })"
        }
        #expect(try refusal { $0.seeds = [1, 1] }.contains("all different"))
        #expect(try refusal { $0.seeds = [] }.contains("one or more"))
        #expect(try refusal { $0.flags = [.init("seed", "3")] }.contains("'seed' is not a setting of a grid"))
        #expect(try refusal { $0.overrides = [.init("steps", "0")] }.contains("above 0"))
        let absent = "'B.key': there is no plugin 'B' in the list; did you mean 'A'? in the list: A"
        #expect(try refusal { $0.axes = [.init(values: [.init("B.key", "1")])] } == absent)
        #expect(try refusal { $0.flags = [.init("B.key", "1")] } == absent)
        #expect(try refusal { $0.combinations[0].flags = [.init("B.key", "1")] } == absent)
        #expect(try refusal { $0.combinations = [] }.contains("no combinations"))
    }

    @Test func statistics() throws {
        #expect(AblationTable.Statistic([]) == nil)
        #expect(try #require(AblationTable.Statistic([3])).deviation == nil)
        let three = try #require(AblationTable.Statistic([1, 2, 6]))
        #expect(three.count == 3 && three.mean == 3 && three.deviation == 7.0.squareRoot())
    }

    @Test func tablePairsBySeed() throws {
        let table = AblationTable(rows: [
            .init(
                title: "plain & 50%",
                runs: [0: ["held-out L1": 1, "cosine": 0.5], 1: ["held-out L1": 3], 2: ["held-out L1": 9]],
                wanted: 3),
            .init(title: "mine", runs: [1: ["held-out L1": 2.5], 0: ["held-out L1": 1.5]], wanted: 3),
            .init(title: "failed", runs: [:], wanted: 3),
        ])
        #expect(table.columns.map(\.title) == ["held-out L1", "cosine"])
        let difference = try #require(table.difference(table.rows[1], table.columns[0]))
        #expect(difference.count == 2 && difference.mean == 0 && difference.deviation == 0.5.squareRoot())
        #expect(table.difference(table.rows[0], table.columns[0]) == nil)
        #expect(
            table.text == """
                             runs       held-out L1  cosine
                plain & 50%   3/3  4.3333 +- 4.1633   0.500
                mine          2/3  2.0000 +- 0.7071       -
                failed        0/3                 -       -

                difference to 'plain & 50%', seed by seed
                        runs        held-out L1  cosine
                mine       2  +0.0000 +- 0.7071       -
                failed     0                  -       -
                """)
        #expect(table.csv.contains("\n\"mine\",held-out L1,2,2.0,0.7071067811865476,2,0.0,0.7071067811865476\n"))
        #expect(table.latex.contains("plain \\& 50\\% & $4.3333 \\pm 4.1633$ & $0.500$ \\\\"))
        #expect(table.latex.contains("failed & -- & -- \\\\"))
    }
}
