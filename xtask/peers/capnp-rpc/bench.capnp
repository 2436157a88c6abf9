@0xd7a1c5e0f36b4298;

interface Bench {
    echo @0 (data :Data) -> (data :Data);
    take @1 (data :Data) -> (size :UInt64);
    give @2 (size :UInt64) -> (data :Data);
    sleep @3 (millis :UInt64) -> ();
}
