class Space:
    @classmethod
    def from_mapping(cls, m): return cls()
    def grid(self): return None
