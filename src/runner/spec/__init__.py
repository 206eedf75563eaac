"""Pure data and rules that both programs share: no network, no clock, no environment."""
