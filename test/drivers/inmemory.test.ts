import { makeInMemory } from '../support/drivers.ts'
import { driverConformance } from './conformance.ts'

driverConformance('inmemory', makeInMemory)
